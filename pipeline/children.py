"""Commands of the lab as child processes, a few at a time."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import IO

from pipeline.errors import InitlabError, RunError, UsageError
from pipeline.interrupt import Terminated, check, deferred

__all__ = ["cores", "lab_command", "lab_environment", "run_all"]

POLL_S = 0.1
ON_POLL_S = 1.0
PATIENCE_S = 60.0


@dataclass(frozen=True)
class _Child:
    process: subprocess.Popen[bytes]
    errors: IO[bytes]
    started: float


def cores() -> int:
    """How many processes may compute at once: on the cores that this one may use, or that Slurm has given it."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    given = os.environ.get("SLURM_CPUS_PER_TASK", "")  # beyond which not every cluster keeps it from going
    return min(here, int(given)) if given.isdigit() and int(given) else here


def lab_command(*arguments: str) -> list[str]:
    """``initlab ARGUMENTS`` with the interpreter that runs this."""
    return [sys.executable, "-P", "-m", "pipeline", *arguments]


def lab_environment() -> dict[str, str]:
    """This process's, such that the child imports what it does, whatever folder either was started in."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)}


def run_all(
    commands: Mapping[str, Sequence[str]],
    at_once: int,
    on_end: Callable[[str, float], None] | None = None,
    on_poll: Callable[[], None] | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Runs ``initlab COMMAND`` for each named command, ``at_once`` at a time, in their order.

    A signal to this process ends the children in the way that they end by themselves.

    Args:
        on_end: called with a command's name and the seconds it took, as it ends.
        on_poll: called every second or so while they run.
        variables: of their environment, besides those of this process.

    Raises:
        InitlabError: the first failure, with the child's own message; the others are ended.
    """
    with deferred():
        _run_all(dict(commands), at_once, on_end, on_poll, variables)


def _run_all(
    waiting: dict[str, Sequence[str]],
    at_once: int,
    on_end: Callable[[str, float], None] | None,
    on_poll: Callable[[], None] | None,
    variables: Mapping[str, str],
) -> None:
    polled = time.monotonic()
    running: dict[str, _Child] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                name = next(iter(waiting))
                running[name] = _start(waiting.pop(name), variables)
            for name in [name for name, child in running.items() if child.process.poll() is not None]:
                child = running.pop(name)
                _check(name, child)
                if on_end is not None:
                    on_end(name, time.monotonic() - child.started)
            if on_poll is not None and time.monotonic() - polled > ON_POLL_S:
                polled = time.monotonic()
                on_poll()
            time.sleep(POLL_S)
            check()
    except BaseException as error:
        _end(running, signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
        raise


def _start(command: Sequence[str], variables: Mapping[str, str]) -> _Child:
    errors = tempfile.TemporaryFile()  # noqa: SIM115
    process = subprocess.Popen(
        lab_command(*command),
        env=lab_environment() | dict(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=errors,
    )
    return _Child(process, errors, time.monotonic())


def _check(name: str, child: _Child) -> None:
    code = child.process.returncode
    child.errors.seek(0)
    lines = child.errors.read().decode(errors="replace").strip().splitlines()
    child.errors.close()
    if code == 0:
        return
    if code in (130, -signal.SIGINT):
        raise KeyboardInterrupt
    if code in (143, -signal.SIGTERM):
        raise Terminated
    reason = lines[-1].removeprefix("initlab: ") if lines else f"ended with {code}"
    kind: type[InitlabError] = UsageError if code == UsageError.exit_code else RunError
    raise kind(f"{name}: {reason}")


def _end(running: Mapping[str, _Child], number: signal.Signals) -> None:
    for child in running.values():
        child.process.send_signal(number)
    for child in running.values():
        try:
            child.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
        child.errors.close()
