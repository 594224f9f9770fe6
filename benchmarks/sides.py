"""Sides of a comparison as processes of their own, measured in turn."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from benchmarks.data import ROOT
from benchmarks.subject import Subject
from benchmarks.unavailable import Unavailable

__all__ = ["Side", "cores", "in_turn"]


def cores(count: int) -> tuple[int, ...]:
    """The first ``count`` cores that this process may use; ``Unavailable`` if there are fewer."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < count:
        raise Unavailable(f"needs {count} cores, has {len(allowed)}")
    return tuple(allowed[:count])


class Side:
    """Processes that are measured at once; several of them where each has a core of its own."""

    def __init__(self, *subjects: Subject) -> None:
        self._processes = [_start(subject) for subject in subjects]
        try:
            for process in self._processes:
                _answer(process)
        except BaseException:
            self.close()
            raise

    def rate(self) -> float:
        """Work a second of all processes together, from the start to the end of the slowest."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        answers = [_answer(process) for process in self._processes]
        return float(sum(a["work"] for a in answers) / max(a["seconds"] for a in answers))

    def close(self) -> None:
        for process in self._processes:
            if process.stdin is not None:
                process.stdin.close()
        for process in self._processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def __enter__(self) -> "Side":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _start(subject: Subject) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-W", "ignore", "-m", "benchmarks.subject", subject.to_json()]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a measured process ended with exit code {process.wait()}")
    answer: dict[str, Any] = json.loads(line)
    if "unavailable" in answer:
        raise Unavailable(answer["unavailable"])
    return answer


def in_turn(
    sides: Mapping[str, Sequence[Subject]], rounds: int, say: Callable[[str], None], optional: Sequence[str] = ()
) -> dict[str, list[float]]:
    """Rates of each side, one a round; every round measures all sides, and begins with another.

    Args:
        optional: sides that are left out where they are unavailable.
    """
    with ExitStack() as stack:
        running: dict[str, Side] = {}
        for name, subjects in sides.items():
            say(f"setting up {name}")
            try:
                running[name] = stack.enter_context(Side(*subjects))
            except Unavailable as reason:
                if name not in optional:
                    raise
                say(f"{name} is left out: {reason}")
        names = list(running)
        rates: dict[str, list[float]] = {name: [] for name in names}
        for i in range(rounds):
            for name in names[i % len(names) :] + names[: i % len(names)]:
                rates[name].append(running[name].rate())
            say(f"round {i + 1} of {rounds}: " + ", ".join(f"{name} {rates[name][-1]:.4g}/s" for name in names))
        return rates
