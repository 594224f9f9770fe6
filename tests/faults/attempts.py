"""Runs of the command that must be refused, and what refusing means."""

import contextlib
import io
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.cli import main

MOST_LINES, LONGEST_LINE = 2, 2500


@dataclass(frozen=True)
class Attempt:
    """What came of arguments: ``left`` is what there is in the folder that wasn't before."""

    code: int
    out: str
    err: str
    left: list[str]

    @property
    def trouble(self) -> str:
        """What is wrong with a refusal; empty if nothing is."""
        lines = self.err.splitlines()
        wrong = {
            f"exit {self.code}": self.code != 2,
            f"{len(lines)} lines": not 1 <= len(lines) <= MOST_LINES,
            "not the command's own line": not self.err.startswith("initlab: "),
            "a traceback": "Traceback" in self.err or 'File "' in self.err,
            "control characters": not all(line.isprintable() for line in lines),
            "a line without end": any(len(line) > LONGEST_LINE for line in lines),
            f"wrote {self.left}": bool(self.left),
            f"printed {self.out[:80]!r}": bool(self.out),
        }
        found = ", ".join(name for name, is_so in wrong.items() if is_so)
        return f"{found}: {self.err[-600:]}" if found else ""


def attempt(arguments: Sequence[str], folder: Path | None = None) -> Attempt:
    """The command in this process, in an empty folder or in one that is given."""
    out, err = io.StringIO(), io.StringIO()
    with tempfile.TemporaryDirectory() as empty:
        place = folder or Path(empty)
        before = files(place)
        with contextlib.chdir(place), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(arguments))
        return Attempt(code, out.getvalue(), err.getvalue(), sorted(files(place) - before))


def run_command(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a process of its own."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "INITLAB_STORAGE")}
    return subprocess.run(
        [sys.executable, "-m", "pipeline", *arguments],
        cwd=cwd,
        env=kept | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def files(folder: Path) -> set[str]:
    """All that is in a folder, by path, at any depth."""
    return {os.path.relpath(path, folder) for path in folder.rglob("*")}
