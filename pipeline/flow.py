"""A study under way: trials are asked for, judged, trained and told while others train.

Nothing waits: as soon as a core is free it gets a stack of what is ready, and the search
is asked for the next trials meanwhile. What a trial is suggested from depends on trial
numbers alone (``pipeline.search``), never on which stack ended first, and so does whether it
is pruned: a study's results are the same on any number of cores. Trials that go on after a
rung are packed together anew.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pipeline.errors import RunError
from pipeline.interrupt import check as check_signals
from pipeline.modes import Choice
from pipeline.pool import POLL_S, Part, Pool, Trainer, choice_of, run_jobs
from pipeline.records import MemberRecord, TrialRecord, Verdict
from pipeline.runner import Job, drawn, look_ahead, member_of, verdicts
from pipeline.search import Asked, FinishedTrial, Search
from pipeline.seeds import replicate_seeds
from pipeline.train import Paused
from pipeline.verdict import typical

__all__ = ["Flow", "Modes", "train_again"]

# Stacks handed out for each core: the one that it trains, and the next.
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
    """A trial between being asked for and being told.

    Attributes:
        round: which of them are trained now: all, or one after the other.
        epoch: how far these have come. paused: they themselves, there.
        records: of those that are trained to their end.
        reason: why it is stopped, if it is.
    """

    asked: Asked
    jobs: list[Job]
    round: list[int]
    started: float = field(default_factory=time.time)
    verdict: Verdict | None = None
    epoch: int = 0
    paused: list[Paused] = field(default_factory=list)
    records: list[MemberRecord] = field(default_factory=list)
    reason: str = ""

    @property
    def kind(self) -> tuple[str, int, bool]:
        """Trials of one kind can share a stack."""
        return self.jobs[0].structure, self.epoch, bool(self.reason)


@dataclass(frozen=True)
class _Leg:
    """What is to be done for a trial at once.

    Attributes:
        fresh: whether it is to be judged first.
    """

    jobs: list[Job]
    round: list[int]
    fresh: bool
    paused: list[Paused]


@dataclass
class _Outcome:
    """What was done of it."""

    epoch: int
    verdict: Verdict | None = None
    paused: list[Paused] = field(default_factory=list)
    records: list[MemberRecord] = field(default_factory=list)


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
        self.replicates, self.epochs = search.config.search.replicates, search.config.trainer.epochs
        self.ready: list[_Trial] = []
        self.held: list[_Trial] = []
        self.running: dict[Future[Any], tuple[list[_Trial], list[float]]] = {}

    @property
    def share(self) -> int:
        """Members of a stack: those that may be under way, shared out."""
        return -(-self.search.under_way * self.replicates // (AHEAD * self.pool.workers))

    def run(self) -> None:
        """Until the search has all its trials."""
        while self.search.done < self.search.total:
            self._ask()
            self._hand_out()
            if not (self.running or self.ready or self.held):
                raise RunError(f"the study {self.search.name!r} has trials that nobody runs; give the command again")
            self._collect()

    def _ask(self) -> None:
        """As many trials as the cores are to have at hand; one after the other, so that none waits for all."""
        while self.search.ready() and sum(len(trial.round) for trial in self.ready) < self.share:
            (asked,) = self.search.ask(1)
            seeds = replicate_seeds(asked.config.seed, self.replicates)
            first = [0] if self.search.pruning.by_replicate else list(range(self.replicates))
            self.ready.append(_Trial(asked, [Job(asked.config, seed) for seed in seeds], first))

    def _hand_out(self) -> None:
        while self.ready and len(self.running) < AHEAD * self.pool.workers:
            kinds: dict[tuple[str, int, bool], list[_Trial]] = {}
            for trial in self.ready:
                kinds.setdefault(trial.kind, []).append(trial)
            # The fullest stack; of equally full ones that which is furthest, so that trials end.
            kind = max(kinds, key=lambda k: (min(self._members(kinds[k]), self.share), k[1], k[2]))
            if self._members(kinds[kind]) < self.share and self.running and self.search.ready():
                return  # more are to be had at once
            self._hand(kinds[kind])

    def _members(self, trials: Sequence[_Trial]) -> int:
        return sum(len(trial.round) for trial in trials)

    def _hand(self, trials: Sequence[_Trial]) -> None:
        """As many of the trials as a stack is to hold."""
        choice = self.modes.of(trials[0].jobs[0])
        size = max(1, min(self.share, choice.stack_size) // len(trials[0].round))
        chosen = list(trials[:size])
        taken = {trial.asked.number for trial in chosen}
        self.ready = [trial for trial in self.ready if trial.asked.number not in taken]
        done = [0.0]
        legs = [_Leg(trial.jobs, trial.round, trial.verdict is None, trial.paused) for trial in chosen]
        call = partial(_round, legs, *self._stop(chosen[0]), choice, self.prune)
        self.running[self.pool.submit(call, partial(done.__setitem__, 0))] = (chosen, done)

    def _stop(self, trial: _Trial) -> tuple[int, bool]:
        """The epoch to which a trial goes next, and whether it ends there."""
        if trial.reason:
            return trial.epoch, True
        until = next((rung for rung in self.search.pruning.rungs if rung > trial.epoch), self.epochs)
        return until, until == self.epochs

    def _collect(self) -> None:
        done, _ = wait(self.running, POLL_S, FIRST_COMPLETED)
        check_signals()
        for future in sorted(done, key=lambda f: self.running[f][0][0].asked.number):
            trials, _ = self.running[future]
            outcomes: list[_Outcome] = future.result()
            del self.running[future]
            for trial, outcome in zip(trials, outcomes, strict=True):
                trial.verdict = outcome.verdict or trial.verdict
                trial.paused, trial.epoch = outcome.paused, outcome.epoch
                trial.records += outcome.records
                self._after(trial)
        self._judge()
        under_way = sum(done / self.epochs for _, (done,) in self.running.values())
        self.on_progress(self.search.done + under_way / self.replicates)

    def _after(self, trial: _Trial) -> None:
        """What becomes of a trial that was on a core."""
        if trial.paused and not trial.reason:
            self.search.report(trial.asked.number, trial.epoch, [m.seen.records[0] for m in trial.paused])
            self.held.append(trial)
            return
        if self.search.pruning.by_replicate and trial.records and not trial.reason:
            step = len(trial.records) - 1
            self.search.report(trial.asked.number, step, trial.records[-1:])
            trial.reason = self.search.pruning.reason(trial.asked.number, step)
            if not trial.reason and step + 1 < self.replicates:
                trial.round, trial.epoch = [step + 1], 0
                self.ready.append(trial)
                return
        record = TrialRecord(trial.records, trial.verdict, trial.reason)
        self.search.tell(trial.asked.number, record)
        self.on_told(trial.asked, record, trial.started)

    def _judge(self) -> None:
        """Lets trials at a rung go on, or stops them, as soon as what decides it is known."""
        pruning = self.search.pruning
        for trial in sorted(self.held, key=lambda t: t.asked.number):
            if pruning.can_judge(trial.asked.number, trial.epoch):
                trial.reason = pruning.reason(trial.asked.number, trial.epoch)
                self.ready.append(trial)
        ready = {trial.asked.number for trial in self.ready}
        self.held = [trial for trial in self.held if trial.asked.number not in ready]


def _round(
    legs: Sequence[_Leg], until: int, last: bool, choice: Choice, prune: bool, trainer: Trainer
) -> list[_Outcome]:
    """On a core: judges trials that are at their start, and trains all up to their next stop.

    Those that are hopeless are not trained, if that is asked for.
    """
    outcomes = [_Outcome(until) for _ in legs]
    fresh = [job for leg in legs if leg.fresh for job in leg.jobs]
    members = drawn(fresh)
    judged = iter(zip(members, look_ahead(fresh, members), strict=True))  # all at once, which is faster
    start: list[Any] = []
    going: list[int] = []
    for i, leg in enumerate(legs):
        own = [next(judged) for _ in leg.jobs] if leg.fresh else []
        if own:
            outcomes[i].verdict = verdict = typical([verdict for _, (_, verdict) in own])
            if prune and verdict.hopeless:
                continue
        going.append(i)
        start += leg.paused or [own[k][0] if own else member_of(leg.jobs[k]) for k in leg.round]
    if going:
        jobs = [legs[i].jobs[k] for i in going for k in legs[i].round]
        part = Part(jobs, until, start, last=last, choice=choice)
        found = iter(trainer.train(part))
        for i in going:
            trained: list[Any] = [next(found) for _ in legs[i].round]
            outcomes[i].records, outcomes[i].paused = (trained, []) if last else ([], trained)
    return outcomes


def train_again(search: Search, trial: FinishedTrial, modes: Modes) -> TrialRecord:
    """The record of a finished trial once more: trained as far as it was, to the same numbers."""
    config = search.config_of(trial)
    jobs = [Job(config, seed) for seed in replicate_seeds(config.seed, search.config.search.replicates)]
    verdict = typical(verdicts(jobs))
    reason: str = trial.user_attrs.get("pruned", "")
    if trial.state.name == "PRUNED" and not reason:
        return TrialRecord([], verdict)
    step, until = trial.last_step, None
    if reason and step is not None:
        jobs, until = (jobs[: step + 1], None) if search.pruning.by_replicate else (jobs, step)
    return TrialRecord(run_jobs(jobs, lambda _: check_signals(), until, modes.kept), verdict, reason)
