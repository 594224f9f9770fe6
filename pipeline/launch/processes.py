"""Workers as processes of this host."""

import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.children import lab_command, lab_environment
from pipeline.launch.workers import Census, last_words

__all__ = ["Processes"]

# A worker ends within ten seconds of a signal. Who doesn't is killed: the others give its trials again.
PATIENCE_S = 9.0


class Processes:
    """``initlab worker`` so many times, each with a log of its own.

    Args:
        overrides: of each worker. variables: of its environment, besides those of this process.
        folder: where the logs go.
    """

    def __init__(self, count: int, overrides: Sequence[str], variables: Mapping[str, str], folder: Path) -> None:
        self.title = f"{count} workers on this host, logs in {folder}"
        command = lab_command("worker", *overrides)
        self._logs = [folder / f"worker-{number}.log" for number in range(count)]
        self._told: set[int] = set()
        self._processes: list[subprocess.Popen[bytes]] = []
        try:
            for log in self._logs:
                self._processes.append(_start(command, variables, log))
        except BaseException:
            self.stop(signal.SIGTERM)
            raise

    def count(self) -> Census:
        return Census(sum(process.poll() is None for process in self._processes))

    def news(self) -> list[str]:
        lines = []
        for number, process in enumerate(self._processes):
            if process.poll() and number not in self._told:
                self._told.add(number)
                lines.append(f"worker {number} {_ending(process.returncode)}: {_said(self._logs[number])}")
        return lines

    def dismiss(self) -> None:
        """All run already, and end by themselves."""

    def stop(self, number: int) -> None:
        for process in self._processes:
            process.send_signal(number)  # does nothing to one that has ended
        deadline = time.monotonic() + PATIENCE_S
        for process in self._processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start(command: Sequence[str], variables: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as file:
        environment = lab_environment() | dict(variables)
        return subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )


def _ending(code: int) -> str:
    return f"was killed by signal {-code}" if code < 0 else f"failed with {code}"


def _said(log: Path) -> str:
    return f"{last_words(log)} ({log})"
