"""Peer (c) as the harness runs it: its environment, its command, the ends of its trials."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import ROOT
from benchmarks.environment import ENVIRONMENT
from benchmarks.processes import run
from benchmarks.unavailable import UnavailableError

__all__ = ["TemplateRun", "python", "run_template"]

TEMPLATE = ROOT / "benchmarks" / "template"
VENV = ROOT / "benchmarks" / ".venv-template"


@dataclass(frozen=True)
class TemplateRun:
    """Wall time of a study from the start of its process, and when each of its trials ended, in seconds."""

    seconds: float
    ended: list[float]

    def slope(self, start: int) -> float:
        """Seconds a further trial, from trial ``start`` to the last."""
        return (self.ended[-1] - self.ended[start - 1]) / (len(self.ended) - start)


def python(say: Callable[[str], None]) -> str:
    """The template's interpreter; its environment is made when it is first needed."""
    executable, ready = VENV / "bin" / "python", VENV / ".ready"
    wanted = (TEMPLATE / "requirements.txt").read_text()
    if ready.is_file() and ready.read_text() == wanted:
        return str(executable)
    say(f"setting up {VENV.relative_to(ROOT)} (once; some minutes)")
    pip = [str(executable), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    commands = ([sys.executable, "-m", "venv", str(VENV)], [*pip, "-r", str(TEMPLATE / "requirements.txt")])
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = next(iter(done.stderr.strip().splitlines()[-1:]), "")
            raise UnavailableError(f"the template's environment can't be set up: {last}")
    ready.write_text(wanted)
    return str(executable)


def run_template(interpreter: str, folder: Path, trials: int) -> TemplateRun:
    """A study of ``trials`` trials on two workers of one thread each, in a fresh store."""
    folder.mkdir(parents=True, exist_ok=True)
    store = folder / "mlflow.db"
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = ENVIRONMENT | threads | {"PYTHONPATH": str(TEMPLATE)}
    environment |= {"MLFLOW_TRACKING_URI": f"sqlite:///{store}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [interpreter, str(TEMPLATE / "train.py"), "--multirun", f"hydra.sweeper.n_trials={trials}"]
    ran = run([*command, f"hydra.sweep.dir={folder / 'multirun'}"], folder, environment)
    with closing(sqlite3.connect(store)) as held:
        ended = [row[0] / 1000 for row in held.execute("select end_time from runs where status = 'FINISHED'")]
    if len(ended) != trials:
        raise RuntimeError(f"the template finished {len(ended)} of {trials} trials")
    return TemplateRun(ran.seconds, sorted(ended))
