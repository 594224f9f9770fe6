"""A study as a process, and what a store holds of it."""

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ROOT", "SEED", "Held", "Lab", "assert_whole", "clean_environment", "held_by"]

ROOT = Path(__file__).resolve().parents[2]
# One for all tests of a run, in whatever process they are.
SEED = int(os.environ.setdefault("INITLAB_FAULT_SEED", str(random.SystemRandom().randrange(2**32))))
STUDY = ["study.name=s", "search=random", "search.batch=8", "search.confirm=2", "trainer.epochs=6", "model.width=32"]


def clean_environment(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MLFLOW")}
    return kept | {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"} | more


@dataclass
class Lab:
    """``initlab sweep`` of one study as a process, in a folder."""

    folder: Path
    arguments: list[str]
    process: subprocess.Popen[str] | None = None
    variables: dict[str, str] = field(default_factory=dict)  # of its environment

    def start(self) -> None:
        self.output = (self.folder / "output.txt").open("w+")
        self.errors = (self.folder / "errors.txt").open("w+")
        command = [sys.executable, "-P", "-m", "pipeline", "sweep", *STUDY, *self.arguments]
        self.process = subprocess.Popen(
            command,
            cwd=self.folder,
            env=clean_environment(**self.variables),
            stdout=self.output,
            stderr=self.errors,
            text=True,
        )

    def end(self, timeout: float = 600) -> int:
        assert self.process is not None
        code = self.process.wait(timeout)
        self.close()
        return code

    def close(self) -> None:
        self.output.close()
        self.errors.close()

    def kill(self) -> None:
        """Nothing is left of it, in whatever state a failed test leaves it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.close()

    def run(self, timeout: float = 600) -> str:
        """The study to its end; what it printed."""
        self.start()
        assert self.end(timeout) == 0, self.said_errors
        return self.said

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command, to its end."""
        command = [sys.executable, "-P", "-m", "pipeline", *arguments]
        return subprocess.run(command, cwd=self.folder, env=clean_environment(), capture_output=True, text=True)

    @property
    def said(self) -> str:
        return (self.folder / "output.txt").read_text()

    @property
    def said_errors(self) -> str:
        return (self.folder / "errors.txt").read_text()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    @property
    def finished(self) -> int:
        """Trials that Optuna holds as complete, read from its journal."""
        found = next(iter(self.folder.glob("mlruns/**/s.journal")), None)
        return found.read_text().count('"state":1,') if found is not None else 0

    @property
    def kept(self) -> list[Path]:
        """Runs that wait on disk."""
        return sorted(self.folder.glob("mlruns/spool/s/*/*.run"))

    def wait_until(self, condition: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds} s; said: {self.said} {self.said_errors}"
            assert self.process is not None
            assert self.process.poll() is None, f"it has ended: {self.said} {self.said_errors}"
            time.sleep(0.05)

    def wait_for_trials(self, more: int, of: int) -> None:
        """Until so many more have been trained, or all that the study has: training may be far ahead of the store."""
        enough = min(self.finished + more, of)
        self.wait_until(lambda: self.finished >= enough)


Rows = Counter[tuple[object, ...]]


@dataclass(frozen=True)
class Held:
    """What a store holds of a study's trials.

    Attributes:
        metrics: ``(trial, key, step, value)`` -> how often. runs: trial -> how many runs.
        params: ``(trial, key, value)``. statuses: trial -> status of its run.
    """

    metrics: Rows
    params: Rows
    runs: Counter[int]
    statuses: Counter[str]
    parents: list[str]


ROWS = """
    SELECT CAST(trial.value AS INT), {columns} FROM runs
    JOIN tags trial ON trial.run_uuid = runs.run_uuid AND trial.key = 'initlab.trial'
    {join}
    WHERE runs.lifecycle_stage = 'active'
"""


def held_by(database: Path) -> Held:
    """Straight from the database's tables, past MLflow."""
    connection = sqlite3.connect(database)

    def rows(columns: str, table: str) -> Rows:
        join = f"JOIN {table} t ON t.run_uuid = runs.run_uuid" if table else ""
        return Counter(connection.execute(ROWS.format(columns=columns, join=join)).fetchall())

    runs = rows("runs.run_uuid, runs.status", "")
    parents = connection.execute(
        "SELECT status FROM runs JOIN tags t ON t.run_uuid = runs.run_uuid AND t.key = 'initlab.kind'"
        " WHERE t.value = 'study' AND lifecycle_stage = 'active'"
    ).fetchall()
    found = Held(
        metrics=rows("t.key, t.step, t.value", "metrics"),
        params=rows("t.key, t.value", "params"),
        runs=Counter(int(trial) for trial, *_ in runs.elements()),
        statuses=Counter(str(status) for *_, status in runs.elements()),
        parents=[status for (status,) in parents],
    )
    connection.close()
    return found


def compared(found: Held, expected: Held) -> tuple[int, int]:
    """Metrics that are lost, and that are doubled."""
    lost = (expected.metrics - found.metrics).total()
    doubled = (found.metrics - expected.metrics).total()
    print(f"{expected.metrics.total()} metrics of {len(expected.runs)} trials: {lost} lost, {doubled} doubled")
    return lost, doubled


def assert_whole(found: Held, expected: Held) -> None:
    """Each trial once, finished, with all that it has in a store that works."""
    assert compared(found, expected) == (0, 0)
    assert found.runs == expected.runs
    assert found.params == expected.params
    assert found.statuses == expected.statuses
    assert found.parents == ["FINISHED"]
