"""A site as these tests know it: where its services are, and commands of the lab on it."""

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from optuna.storages import BaseStorage, RDBStorage
from sqlalchemy import NullPool, create_engine, text

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COMPLETE = """SELECT count(*) FROM trials JOIN studies USING (study_id)
    WHERE study_name = :study AND state = 'COMPLETE'"""


@dataclass(frozen=True)
class Site:
    """PostgreSQL, an MLflow server that asks for a password, and the environment that holds what they ask for.

    Attributes:
        home: an empty working directory.
        secrets: every password there is.
    """

    home: Path
    storage: str
    tracking: str
    environment: dict[str, str]
    secrets: tuple[str, ...]
    database_log: Path

    def start(
        self, verb: str, *overrides: str, log: Path | None = None, inside: Sequence[str] = ()
    ) -> "subprocess.Popen[str]":
        """``initlab VERB``, with its output in a file or in pipes; ``inside`` a command that runs commands."""
        command = [*inside, sys.executable, "-P", "-m", "pipeline", verb, *overrides]
        with nullcontext(subprocess.PIPE) if log is None else log.open("w") as output:
            return subprocess.Popen(
                command,
                cwd=self.home,
                env=self.environment,
                stdout=output,
                stderr=output,
                text=True,
                start_new_session=True,
            )

    def optuna(self) -> BaseStorage:
        """The storage to read from; no connection to it stays open."""
        return RDBStorage(self.storage, engine_kwargs={"poolclass": NullPool})

    def with_passwords(self) -> list[str]:
        """Overrides that name storage and server with their passwords."""
        token, password = self.secrets
        return [
            f"search.storage={self.storage.replace('initlab@', f'initlab:{password}@')}",
            f"tracking.uri={self.tracking.replace('//', f'//lab:{token}@')}",
        ]

    def done(self, study: str) -> int:
        """How many trials of a study are complete, by the database's own word."""
        engine = create_engine(self.storage, poolclass=NullPool)
        with engine.connect() as session:
            if session.scalar(text("SELECT to_regclass('trials')")) is None:
                return 0  # there are no tables yet
            return session.scalar(text(COMPLETE), {"study": study})

    def files_with_a_secret(self) -> list[Path]:
        """Files below the working directory that hold a password."""
        files = [path for path in self.home.rglob("*") if path.is_file()]
        return [path for path in files if any(secret.encode() in path.read_bytes() for secret in self.secrets)]

    def database_errors(self, since: int = 0) -> list[str]:
        """What PostgreSQL itself has noted as wrong, behind a length of its log.

        Left out is the refusal that the MLflow server gets, and hands on as "exists already", when the experiment
        is made by several at once.
        """
        lines = self.database_log.read_text()[since:].splitlines()
        wrong = [line for line in lines if any(word in line for word in ("ERROR:", "FATAL:", "PANIC:"))]
        return [line for line in wrong if "uq_experiments_workspace_name" not in line]


def slurm(command: str, *arguments: str) -> str:
    """What one of Slurm's commands says."""
    done = subprocess.run([command, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def queue() -> dict[str, str]:
    """The jobs that have not ended, by number, with their states."""
    return dict(line.split() for line in slurm("squeue", "--noheader", "--array", "--format=%i %T").splitlines())


def wait_until(what: str, holds: Callable[[], object], seconds: float = 180) -> None:
    """Fails the test if something doesn't come about."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:.0f} s in vain until {what}")
        time.sleep(0.3)


def free_ports(count: int) -> int:
    """The first of so many ports in a row that nobody listens on."""
    for first in range(26000 + os.getpid() % 500 * 10, 32000, 10):
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    return pytest.fail("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def needs(*programs: str) -> None:
    """Fails the test where a program is missing: these tests are asked for by name."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = [program for program in programs if shutil.which(program, path=path) is None]
    if missing:
        pytest.fail(f"not installed: {', '.join(missing)}; make test-cluster installs what these tests need")


def script(name: str, *arguments: str) -> None:
    """Runs one of the scripts beside this file."""
    # Not captured through a pipe, which the daemons would hold open.
    done = subprocess.run([HERE / name, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False)
    assert done.returncode == 0, f"{name} {' '.join(arguments)} failed"
