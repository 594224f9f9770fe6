"""Trains networks on all cores: stacks side by side, one on each core.

Stacks of the kernels train in processes of their own (``pipeline.forks``), as far as these
can be had; others on threads, as torch's operations are long and release the interpreter's
lock.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch

from pipeline.device import reproducible, resolve_device
from pipeline.forks import Fork, can_fork
from pipeline.notes import notes
from pipeline.parts import Part, Trainer, choice_of, train_part, workers_of
from pipeline.records import MemberRecord
from pipeline.runner import Job, by_structure

__all__ = ["POLL_S", "Pool", "finished", "run_jobs"]

POLL_S = 0.05


class _Stopped(BaseException):
    """Raised in a worker whose results nobody wants any more."""


class Pool:
    """Runs calls that train, one on each core, reproducibly. Use as a context; leaving it stops what still runs.

    Args:
        forked: whether each core gets a process of its own, if that can be.
        device: on which they train, ``auto`` or as ``resolve_device`` has it.
    """

    def __init__(self, workers: int, forked: bool = False, device: str = "cpu") -> None:
        self.workers = workers
        self._forks = [Fork(_answer) for _ in range(workers)] if forked and can_fork() else []
        self._free = list(self._forks)
        self._stop = threading.Event()
        self._own = threading.local()
        self._pool = ThreadPoolExecutor(workers, "training", initializer=self._begin)
        self._settings = ExitStack()
        self._device = resolve_device(device)

    def _begin(self) -> None:
        torch.set_num_threads(1)
        self._own.fork = self._free.pop() if self._free else None

    def __enter__(self) -> "Pool":
        self._settings.enter_context(reproducible(self._device))
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with self._settings:
            self._pool.shutdown(wait=True, cancel_futures=True)
            for fork in self._forks:
                fork.end()

    def submit(self, call: "Callable[[Trainer], Any]", progress: Callable[[float], None]) -> "Future[Any]":
        """Runs ``call(trainer)`` on one of the cores.

        Args:
            call: picklable where processes serve.
            progress: called on another thread with the member-epochs that are done.
        """
        return self._pool.submit(self._run, call, progress)

    def _run(self, call: "Callable[[Trainer], Any]", progress: Callable[[float], None]) -> Any:
        fork: Fork | None = self._own.fork
        if fork is None:
            return call(Trainer(progress, self._check))
        found, said = fork.ask(call, progress, self._check)
        notes.extend(said)
        return found

    def _check(self) -> None:
        if self._stop.is_set():
            raise _Stopped


def _answer(call: Callable[[Trainer], Any], progress: Callable[[float], None]) -> tuple[Any, list[str]]:
    """In a process of its own: what the call gives, and the notes that were taken."""
    notes.clear()
    with reproducible():
        return call(Trainer(progress, lambda: None)), list(notes)


def run_jobs(
    jobs: Sequence[Job],
    on_progress: Callable[[float], None] | None = None,
    until: int | None = None,
    kept: Callable[[Job], str | None] = lambda _: None,
) -> list[MemberRecord]:
    """Trains every job to its end.

    Args:
        on_progress: called on this thread, now and then, with the networks done so far,
            counted in fractions.
        until: the epoch to stop at, before the last.
        kept: how a job must be trained, as ``kept_as`` has it; None if any way will do.

    Returns:
        One record a job, in their order.
    """
    if not jobs:
        return []
    records: dict[int, MemberRecord] = {}
    parts = list(_parts(jobs, workers_of(jobs[0].config), kept, until))
    forked = len(parts) > 1 and all(part.choice.mode == "native" for _, part in parts)
    done = [0.0] * len(parts)
    with Pool(workers_of(jobs[0].config), forked, jobs[0].config.device) as pool:
        futures = {
            pool.submit(partial(train_part, part), partial(done.__setitem__, i)): i for i, (_, part) in enumerate(parts)
        }
        for future in finished(futures):
            if future is not None:
                where, part = parts[i := futures[future]]
                records |= dict(zip(where, future.result(), strict=True))
                done[i] = float(part.until * len(where))
            if on_progress is not None:
                on_progress(sum(epochs / part.until for epochs, (_, part) in zip(done, parts, strict=True)))
    return [records[i] for i in range(len(jobs))]


def finished(futures: "Sequence[Future[Any]] | dict[Future[Any], Any]") -> "Iterator[Future[Any] | None]":
    """Each future as it ends, and None now and then while nothing does, so that signals are seen."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, POLL_S, FIRST_COMPLETED)
        if not done:
            yield None
        yield from done


def _parts(
    jobs: Sequence[Job], workers: int, kept: Callable[[Job], str | None], until: int | None
) -> Iterator[tuple[Sequence[int], Part]]:
    """The jobs of each structure in stacks, small enough that every worker gets some, with their places."""
    for group in by_structure(jobs):
        choice = choice_of(jobs[group[0]], kept(jobs[group[0]]))
        size = min(choice.stack_size, -(-len(group) // workers))
        for where in (group[start : start + size] for start in range(0, len(group), size)):
            yield where, Part([jobs[i] for i in where], until, last=True, choice=choice)
