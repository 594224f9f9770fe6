"""A study under way: trials are asked for, judged, trained and told while others train.

Nothing waits: as soon as a thread is free it gets a stack of what is ready, and the search
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

from pipeline.errors import RunError
from pipeline.interrupt import check as check_signals
from pipeline.modes import Choice
from pipeline.plan import Member
from pipeline.pool import POLL_S, Part, Pool, choice_of, run_jobs
from pipeline.records import MemberRecord, TrialRecord, Verdict
from pipeline.runner import Job, drawn, look_ahead, verdicts
from pipeline.search import Asked, FinishedTrial, Search
from pipeline.seeds import replicate_seeds
from pipeline.train import Paused
from pipeline.verdict import typical

__all__ = ["Flow", "Modes", "train_again"]

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
    """A trial between being asked for and being told.

    Attributes:
        start: its members at their start, once they are drawn.
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
    start: list[Member] = field(default_factory=list)
    epoch: int = 0
    paused: list[Paused] = field(default_factory=list)
    records: list[MemberRecord] = field(default_factory=list)
    reason: str = ""

    @property
    def kind(self) -> tuple[str, int, bool]:
        """Trials of one kind can share a stack."""
        return self.jobs[0].structure, self.epoch, bool(self.reason)


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
        self.running: dict[Future[None], tuple[list[_Trial], list[Part]]] = {}

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
        """As many trials as the threads are to have at hand; one after the other, so that none waits for all."""
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
        parts: list[Part] = []
        self.running[self.pool.submit(self._train, chosen, parts, choice)] = (chosen, parts)

    def _collect(self) -> None:
        done, _ = wait(self.running, POLL_S, FIRST_COMPLETED)
        check_signals()
        for future in sorted(done, key=lambda f: self.running[f][0][0].asked.number):
            trials, _ = self.running[future]
            future.result()
            del self.running[future]
            for trial in trials:
                self._after(trial)
        self._judge()
        under_way = sum(p.done / self.epochs for _, parts in self.running.values() for p in parts)
        self.on_progress(self.search.done + under_way / self.replicates)

    def _after(self, trial: _Trial) -> None:
        """What becomes of a trial that was on a thread."""
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

    def _train(self, trials: Sequence[_Trial], parts: list[Part], choice: Choice) -> None:
        """On a thread of the pool: trains the trials' round up to its next stop.

        At their start they are judged; those that are hopeless are not trained if that is asked for.
        """
        for trial in (fresh := [trial for trial in trials if not trial.start]):
            trial.start = drawn(trial.jobs)
        judged = look_ahead([j for t in fresh for j in t.jobs], [m for t in fresh for m in t.start]) if fresh else []
        for i, trial in enumerate(fresh):
            trial.verdict = typical([v for _, v in judged[i * self.replicates : (i + 1) * self.replicates]])
        going = [t for t in trials if t.paused or not (self.prune and t.verdict is not None and t.verdict.hopeless)]
        if going:
            self._advance(going, parts, choice)

    def _advance(self, trials: Sequence[_Trial], parts: list[Part], choice: Choice) -> None:
        epoch, stopped = trials[0].epoch, bool(trials[0].reason)
        stop = next((rung for rung in self.search.pruning.rungs if rung > epoch), self.epochs)
        until = epoch if stopped else stop
        start: list[Member] | list[Paused] = [m for t in trials for m in t.paused] or [
            t.start[i] for t in trials for i in t.round
        ]
        jobs = [t.jobs[i] for t in trials for i in t.round]
        part = Part(jobs, until, start, last=stopped or until == self.epochs, choice=choice)
        parts.append(part)
        found = iter(self.pool.train(part))
        for trial in trials:
            own = [next(found) for _ in trial.round]
            trial.epoch = until
            trial.paused = [] if part.last else own  # type: ignore[assignment]
            trial.records += own if part.last else []  # type: ignore[arg-type]


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
