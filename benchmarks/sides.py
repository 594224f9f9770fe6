"""Sides of a comparison as processes of their own, measured in turn."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from benchmarks.data import ROOT
from benchmarks.engine import empty_caches
from benchmarks.environment import ENVIRONMENT
from benchmarks.group import Context
from benchmarks.subject import Subject
from benchmarks.unavailable import UnavailableError

__all__ = ["Side", "cores", "in_turn"]


def cores(count: int) -> tuple[int, ...]:
    """The first ``count`` cores that this process may use; ``UnavailableError`` if there are fewer."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < count:
        raise UnavailableError(f"needs {count} cores, has {len(allowed)}")
    return tuple(allowed[:count])


class Side:
    """Processes that are measured at once; several of them where each has a core of its own.

    Args:
        caches: variables of the environment that name the folders of the lab's caches.
    """

    def __init__(self, *subjects: Subject, caches: Mapping[str, str]) -> None:
        self._processes = [_start(subject, caches) for subject in subjects]
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


def _start(subject: Subject, caches: Mapping[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-P", "-W", "ignore", "-m", "benchmarks.subject", subject.to_json()]
    environment = ENVIRONMENT | dict(caches) | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a measured process ended with exit code {process.wait()}")
    answer: dict[str, Any] = json.loads(line)
    if "unavailable" in answer:
        raise UnavailableError(answer["unavailable"])
    return answer


def in_turn(
    sides: Mapping[str, Sequence[Subject]], rounds: int, context: Context, optional: Sequence[str] = ()
) -> dict[str, list[float]]:
    """Rates of each side, one a round; every round measures all sides, and begins with another.

    Args:
        optional: sides that are left out where they are unavailable.
    """
    caches = empty_caches(context.folder)
    with ExitStack() as stack:
        running: dict[str, Side] = {}
        for name, subjects in sides.items():
            context.say(f"setting up {name}")
            try:
                running[name] = stack.enter_context(Side(*subjects, caches=caches))
            except UnavailableError as reason:
                if name not in optional:
                    raise
                context.say(f"{name} is left out: {reason}")
        names = list(running)
        rates: dict[str, list[float]] = {name: [] for name in names}
        for i in range(rounds):
            for name in names[i % len(names) :] + names[: i % len(names)]:
                rates[name].append(running[name].rate())
            last = ", ".join(f"{name} {rates[name][-1]:.4g}/s" for name in names)
            context.say(f"round {i + 1} of {rounds}: {last}")
        return rates
