"""A study under way: trials are asked for, judged, trained and told while others train.

Nothing waits: as soon as a thread is free it gets a stack of what is ready, and the search
is asked for the next trials meanwhile. What a trial gets to know, and whether it is
pruned, depends on trial numbers alone (``pipeline.search``), never on which stack ended
first, so that a study's results are the same on any number of cores.
"""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import Any

from pipeline.interrupt import check as check_signals
from pipeline.pool import POLL_S, Part, Pool, choice_of
from pipeline.records import MemberRecord, TrialRecord, Verdict
from pipeline.runner import Job, drawn, look_ahead
from pipeline.search import Asked, Search
from pipeline.seeds import replicate_seeds
from pipeline.train import Paused
from pipeline.verdict import typical

__all__ = ["Flow"]

# Stacks handed out for each thread: the one that it trains, and the next.
AHEAD = 2


@dataclass
class _Trial:
    """A trial between being asked for and being told.

    Attributes:
        epoch: the epochs that it has behind it, all replicates alike.
        paused: its members there; records: those that are trained to their end.
        reason: why it was stopped, if it was.
    """

    asked: Asked
    jobs: list[Job]
    started: float = field(default_factory=time.time)
    epoch: int = 0
    verdict: Verdict | None = None
    paused: list[Paused] = field(default_factory=list)
    records: list[MemberRecord] = field(default_factory=list)
    reason: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """Trials of one key can share a stack."""
        return (self.jobs[0].structure, self.epoch)


class Flow:
    """Runs the trials of a search.

    Args:
        on_told: called with each trial as it is told, its record and when it began.
        on_progress: called now and then with the trials done, in fractions.
    """

    def __init__(
        self,
        search: Search,
        pool: Pool,
        on_told: Callable[[Asked, TrialRecord, float], None],
        on_progress: Callable[[float], None],
    ) -> None:
        self.search, self.pool, self.on_told, self.on_progress = search, pool, on_told, on_progress
        self.config = search.config
        self.ready: list[_Trial] = []
        self.held: list[_Trial] = []
        self.running: dict[Future[Any], tuple[list[_Trial], list[Part]]] = {}
        under_way = self.config.search.batch * self.config.search.replicates
        self.share = -(-under_way // (AHEAD * pool.workers))

    def run(self) -> None:
        """Until the search has all its trials."""
        while self.search.done < self.search.total:
            self._ask()
            self._hand_out()
            self._collect()

    def _ask(self) -> None:
        while (
            self.search.ready()
            and len(self.ready) * self.config.search.replicates < self.share * AHEAD * self.pool.workers
        ):
            for asked in self.search.ask(1):
                seeds = replicate_seeds(asked.config.seed, self.config.search.replicates)
                self.ready.append(_Trial(asked, [Job(asked.config, seed) for seed in seeds]))

    def _hand_out(self) -> None:
        while self.ready and len(self.running) < AHEAD * self.pool.workers:
            trials = self._next_stack()
            parts: list[Part] = []
            self.running[self.pool.submit(self._train, trials, parts)] = (trials, parts)

    def _next_stack(self) -> list[_Trial]:
        """Those that can share a stack with the first: of several kinds the fullest, of equals the furthest."""
        kinds: dict[tuple[str, int], list[_Trial]] = {}
        for trial in self.ready:
            kinds.setdefault(trial.key, []).append(trial)
        replicates = self.config.search.replicates
        key = max(kinds, key=lambda k: (min(len(kinds[k]) * replicates, self.share), k[1]))
        size = min(self.share, choice_of(kinds[key][0].jobs[0]).stack_size)
        chosen = kinds[key][: max(1, size // replicates)]
        self.ready = [trial for trial in self.ready if all(trial is not c for c in chosen)]
        return chosen

    def _collect(self) -> None:
        done, _ = wait(self.running, POLL_S, FIRST_COMPLETED)
        check_signals()
        for future in sorted(done, key=lambda f: self.running[f][0][0].asked.number):
            trials, _ = self.running[future]
            future.result()
            del self.running[future]
            for trial in trials:
                self._after(trial)
        epochs = self.config.trainer.epochs * self.config.search.replicates
        self.on_progress(self.search.done + sum(p.done for _, parts in self.running.values() for p in parts) / epochs)

    def _after(self, trial: _Trial) -> None:
        record = TrialRecord(trial.records, trial.verdict)
        self.search.tell(trial.asked.number, record)
        self.on_told(trial.asked, record, trial.started)

    def _train(self, trials: Sequence[_Trial], parts: list[Part]) -> None:
        """On a thread of the pool: judges trials at their start, and trains those that aren't hopeless."""
        jobs = [job for trial in trials for job in trial.jobs]
        start = drawn(jobs)
        verdicts = iter([verdict for _, verdict in look_ahead(jobs, start)])
        members = iter(start)
        prune = self.config.search.preflight == "prune"
        going: list[tuple[_Trial, list[Any]]] = []
        for trial in trials:
            trial.verdict = typical([next(verdicts) for _ in trial.jobs])
            own = [next(members) for _ in trial.jobs]
            if not (prune and trial.verdict.hopeless):
                going.append((trial, own))
        if not going:
            return
        part = Part(
            [j for t, _ in going for j in t.jobs], self.config.trainer.epochs, [m for _, own in going for m in own]
        )
        parts.append(part)
        records = iter(self.pool.train(part))
        for trial, own in going:
            trial.records = [next(records) for _ in own]  # type: ignore[misc]
