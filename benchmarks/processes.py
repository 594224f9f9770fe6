"""Commands that are timed from their start to their end, with the memory of all they start."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.unavailable import UnavailableError

__all__ = ["Ran", "run"]

SAMPLE_S = 1.0  # reading what is shared takes milliseconds
USAGE = 2  # exit code of the lab for keys that it doesn't know


@dataclass(frozen=True)
class Ran:
    """Wall time in seconds, and the largest resident memory of the process tree in bytes, 0 if nobody looked.

    Memory is sampled once a second; pages that processes share count once.
    """

    seconds: float
    peak_bytes: int


def run(command: Sequence[str], folder: Path, environment: Mapping[str, str], *, memory: bool = False) -> Ran:
    """Runs a command in ``folder``, its output in ``output.txt`` there.

    Args:
        memory: whether to look at it, which takes some of a core's time.

    Raises:
        UnavailableError: it ended with the exit code for wrong usage.
        RuntimeError: it failed otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / "output.txt"
    with output.open("w") as stream:
        begun, peak = time.perf_counter(), 0
        process = subprocess.Popen(command, cwd=folder, env=dict(environment), stdout=stream, stderr=stream)
        try:
            while process.poll() is None:
                peak = max(peak, _resident(process.pid) if memory else 0)
                _wait(process)
        except BaseException:
            process.terminate()
            process.wait()
            raise
        seconds = time.perf_counter() - begun
    if process.returncode:
        last = next(iter(output.read_text().strip().splitlines()[-1:]), "")
        if process.returncode == USAGE:
            raise UnavailableError(last)
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}: {last}")
    return Ran(seconds, peak)


def _wait(process: "subprocess.Popen[bytes]") -> None:
    """Until the next sample or the end, whichever is first."""
    try:
        process.wait(SAMPLE_S)
    except subprocess.TimeoutExpired:
        return


def _resident(pid: int) -> int:
    """Of a process and its children together: what several of them share counts once."""
    import psutil  # not there on machines that measure single trainings alone

    total = 0
    try:
        tree = [parent := psutil.Process(pid), *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    for process in tree:
        try:
            total += process.memory_full_info().pss
        except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
            continue
    return total
