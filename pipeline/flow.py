"""A study under way: trials are asked for, judged, trained and told while others train.

Nothing waits: as soon as a thread is free it gets a stack of what is ready, and the search
is asked for the next trials meanwhile. What a trial is suggested from depends on trial
numbers alone (``pipeline.search``), never on which stack ended first, so that a study's
results are the same on any number of cores.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field

from pipeline.interrupt import check as check_signals
from pipeline.modes import Choice
from pipeline.pool import POLL_S, Part, Pool, choice_of
from pipeline.records import MemberRecord, TrialRecord, Verdict
from pipeline.runner import Job, drawn, look_ahead
from pipeline.search import Asked, Search
from pipeline.seeds import replicate_seeds
from pipeline.verdict import typical

__all__ = ["Flow", "Modes"]

# Stacks handed out for each thread: the one that it trains, and the next.
AHEAD = 2


class Modes:
    """The execution modes of a study: once settled for a structure, a mode is kept."""

    def __init__(self, search: Search) -> None:
        self.search, self.known = search, search.modes

    def kept(self, job: Job) -> str | None:
        """The mode that was settled, None if none was."""
        return self.known.get(self._key(job))

    def of(self, job: Job) -> Choice:
        """Settles it."""
        choice = choice_of(job, self.kept(job))
        if self._key(job) not in self.known:
            self.search.keep_mode(self._key(job), choice.mode)
            self.known[self._key(job)] = choice.mode
        return choice

    def _key(self, job: Job) -> str:
        return hashlib.sha256(job.structure.encode()).hexdigest()[:12]


@dataclass
class _Trial:
    """A trial between being asked for and being told."""

    asked: Asked
    jobs: list[Job]
    started: float = field(default_factory=time.time)
    verdict: Verdict | None = None
    records: list[MemberRecord] = field(default_factory=list)

    @property
    def structure(self) -> str:
        return self.jobs[0].structure


class Flow:
    """Runs the trials of a search.

    Args:
        on_told: called with each trial as it is told, its record and when it began.
        on_progress: called now and then with the trials done, in fractions.
    """

    def __init__(
        self,
        search: Search,
        modes: Modes,
        pool: Pool,
        on_told: Callable[[Asked, TrialRecord, float], None],
        on_progress: Callable[[float], None],
    ) -> None:
        self.search, self.modes, self.pool = search, modes, pool
        self.on_told, self.on_progress = on_told, on_progress
        self.prune = search.config.search.preflight == "prune"
        self.replicates = search.config.search.replicates
        self.ready: list[_Trial] = []
        self.running: dict[Future[None], tuple[list[_Trial], list[Part]]] = {}
        under_way = search.config.search.batch * self.replicates
        self.share = -(-under_way // (AHEAD * pool.workers))

    def run(self) -> None:
        """Until the search has all its trials."""
        while self.search.done < self.search.total:
            self._ask()
            self._hand_out()
            self._collect()

    def _ask(self) -> None:
        """As many trials as the threads are to have at hand; one after the other, so that none waits for all."""
        while self.search.ready() and len(self.ready) * self.replicates < self.share:
            (asked,) = self.search.ask(1)
            seeds = replicate_seeds(asked.config.seed, self.replicates)
            self.ready.append(_Trial(asked, [Job(asked.config, seed) for seed in seeds]))

    def _hand_out(self) -> None:
        while self.ready and len(self.running) < AHEAD * self.pool.workers:
            if len(self.ready) * self.replicates < self.share and self.search.ready():
                return  # more are to be had at once
            trials, choice = self._next_stack()
            parts: list[Part] = []
            self.running[self.pool.submit(self._train, trials, parts, choice)] = (trials, parts)

    def _next_stack(self) -> tuple[list[_Trial], Choice]:
        """The first trial and those that can share a stack with it."""
        first = self.ready[0]
        choice = self.modes.of(first.jobs[0])
        size = max(1, min(self.share, choice.stack_size) // self.replicates)
        chosen = [trial for trial in self.ready if trial.structure == first.structure][:size]
        taken = {trial.asked.number for trial in chosen}
        self.ready = [trial for trial in self.ready if trial.asked.number not in taken]
        return chosen, choice

    def _collect(self) -> None:
        done, _ = wait(self.running, POLL_S, FIRST_COMPLETED)
        check_signals()
        for future in sorted(done, key=lambda f: self.running[f][0][0].asked.number):
            trials, _ = self.running[future]
            future.result()
            del self.running[future]
            for trial in trials:
                record = TrialRecord(trial.records, trial.verdict)
                self.search.tell(trial.asked.number, record)
                self.on_told(trial.asked, record, trial.started)
        under_way = sum(p.done / p.until for _, parts in self.running.values() for p in parts)
        self.on_progress(self.search.done + under_way / self.replicates)

    def _train(self, trials: Sequence[_Trial], parts: list[Part], choice: Choice) -> None:
        """On a thread of the pool: judges trials at their start, and trains those that aren't hopeless."""
        jobs = [job for trial in trials for job in trial.jobs]
        members = drawn(jobs)
        verdicts = [verdict for _, verdict in look_ahead(jobs, members)]
        going: list[int] = []
        for i, trial in enumerate(trials):
            own = range(i * self.replicates, (i + 1) * self.replicates)
            trial.verdict = typical([verdicts[k] for k in own])
            if not (self.prune and trial.verdict.hopeless):
                going += own
        if not going:
            return
        part = Part([jobs[k] for k in going], start=[members[k] for k in going], choice=choice)
        parts.append(part)
        for k, record in zip(going, self.pool.train(part), strict=True):
            assert isinstance(record, MemberRecord)
            trials[k // self.replicates].records.append(record)
