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
from pipeline.parts import choice_of, kept_as
from pipeline.paused import Paused
from pipeline.pool import POLL_S, Pool, run_jobs
from pipeline.records import MemberRecord, TrialRecord, Verdict
from pipeline.rounds import Leg, Outcome, run_round
from pipeline.runner import Job, verdicts
from pipeline.search import Asked, FinishedTrial, Search, Stop, stops_of
from pipeline.seeds import replicate_seeds
from pipeline.verdict import typical

__all__ = ["Flow", "Modes", "train_again"]

# Stacks handed out for each core: the one that it trains, and the next.
AHEAD = 2
# Seconds between two looks at what other workers have done: while there is work here, and while it may rest on theirs.
WITH_WORK_S, WITHOUT_S = 1.0, 0.2


class Modes:
    """How the networks of a study are trained: once settled for a structure, that is kept."""

    def __init__(self, search: Search) -> None:
        self.search, self.known = search, search.modes

    def kept(self, job: Job) -> str | None:
        """What was settled, as ``kept_as`` has it; None if nothing was."""
        if (key := self._key(job)) not in self.known:  # another worker may have settled it
            self.known |= self.search.modes
        return self.known.get(key)

    def of(self, job: Job) -> Choice:
        """Settles it, unless another worker has."""
        choice, key = choice_of(job, self.kept(job)), self._key(job)
        if key not in self.known:
            self.known[key] = self.search.keep_mode(key, kept_as(job, choice))
        return choice if kept_as(job, choice) == self.known[key] else choice_of(job, self.known[key])

    def _key(self, job: Job) -> str:
        return hashlib.sha256(job.structure.encode()).hexdigest()[:12]


@dataclass
class _Trial:
    """A trial between being asked for and being told.

    Attributes:
        stops: where it halts, and its end. at: the one that it goes to next, or waits at.
        paused: replicates on their way, there. records: of those that are trained to their end.
        reason: why it is stopped, if it is.
    """

    asked: Asked
    jobs: list[Job]
    stops: tuple[Stop, ...]
    started: float = field(default_factory=time.time)
    verdict: Verdict | None = None
    at: int = 0
    paused: list[Paused] = field(default_factory=list)
    records: list[MemberRecord] = field(default_factory=list)
    reason: str = ""

    @property
    def stop(self) -> Stop:
        return self.stops[self.at]

    @property
    def kind(self) -> tuple[str, int, bool]:
        """Trials of one kind can share a stack."""
        return self.jobs[0].structure, self.at, bool(self.reason)


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
        self.pruning = search.pruning
        self.replicates, self.epochs = search.config.search.replicates, search.config.trainer.epochs
        self.ready: list[_Trial] = []
        self.held: list[_Trial] = []
        self.running: dict[Future[Any], tuple[list[_Trial], list[float]]] = {}
        self._heard = 0.0  # when it last looked at what other workers have done

    @property
    def share(self) -> int:
        """Trials of a stack: those that may be under way, shared out."""
        return -(-self.search.under_way // (AHEAD * self.pool.workers * self.search.trainers))

    def run(self) -> None:
        """Until the search has all its trials, whoever trains them."""
        while self.search.done < self.search.total:
            self._ask()
            self._hand_out()
            if not (self.running or self.ready or self.search.others):
                self._hear()
                if not (self.search.ready() or self.search.others or self.search.done >= self.search.total):
                    stuck = f"the study {self.search.name!r} has trials that nobody runs; give the command again"
                    raise RunError(stuck)
            self._collect()

    def _hear(self) -> None:
        self._heard = time.monotonic()
        self.search.sync()

    @property
    def _more_to_ask(self) -> bool:
        return len(self.ready) < self.share and self.search.ready()

    def _ask(self) -> None:
        """As many trials as the cores are to have at hand; one after the other, so that none waits for all."""
        while self._more_to_ask:
            asked = self.search.ask(1)
            self.ready += [self._begun(one) for one in asked]
            if not asked:  # another worker was quicker
                return

    def _begun(self, asked: Asked) -> _Trial:
        seeds = replicate_seeds(asked.config.seed, self.replicates)
        return _Trial(asked, [Job(asked.config, seed) for seed in seeds], stops_of(asked.config))

    def _hand_out(self) -> None:
        while self.ready and len(self.running) < AHEAD * self.pool.workers:
            kinds: dict[tuple[str, int, bool], list[_Trial]] = {}
            for trial in self.ready:
                kinds.setdefault(trial.kind, []).append(trial)
            # The fullest stack; of equally full ones that which is furthest, so that trials end.
            kind = max(kinds, key=lambda k: (min(len(kinds[k]), self.share), k[1], k[2]))
            if len(kinds[kind]) < self.share and self.running and self._more_to_ask:
                return  # more are to be had at once
            self._hand(kinds[kind])

    def _hand(self, trials: Sequence[_Trial]) -> None:
        """As many of the trials as a stack is to hold."""
        choice, stop, stopped = self.modes.of(trials[0].jobs[0]), trials[0].stop, bool(trials[0].reason)
        epochs = trials[0].stops[-1].epoch
        members = len(trials[0].paused) if stopped else len(stop.replicates) or self.replicates
        chosen = list(trials[: max(1, min(self.share, choice.stack_size // members))])
        taken = {trial.asked.number for trial in chosen}
        self.ready = [trial for trial in self.ready if trial.asked.number not in taken]
        done = [0.0]
        legs = [Leg(trial.jobs, stop.replicates, trial.verdict is None, trial.paused) for trial in chosen]
        call = partial(run_round, legs, stop.epoch, stopped or stop.epoch == epochs, choice)
        self.running[self.pool.submit(call, partial(done.__setitem__, 0))] = (chosen, done)

    def _collect(self) -> None:
        done, _ = wait(self.running, POLL_S, FIRST_COMPLETED)
        if not self.running:
            time.sleep(POLL_S)
        check_signals()
        if time.monotonic() - self._heard > (WITH_WORK_S if self.running and not self.held else WITHOUT_S):
            self._hear()
        for future in sorted(done, key=lambda f: self.running[f][0][0].asked.number):
            trials, _ = self.running[future]
            outcomes: list[Outcome] = future.result()
            del self.running[future]
            for trial, outcome in zip(trials, outcomes, strict=True):
                trial.verdict = outcome.verdict or trial.verdict
                trial.paused = outcome.paused
                trial.records += outcome.records
                self._after(trial)
        self._judge()
        under_way = sum(done / self.epochs for _, (done,) in self.running.values())
        self.on_progress(self.search.done + under_way / self.replicates)

    def _after(self, trial: _Trial) -> None:
        """What becomes of a trial that was on a core."""
        stop = trial.stop
        if trial.reason or stop is trial.stops[-1]:
            self._tell(trial)
            return
        if stop.replicates:
            trained = trial.records + [member.seen.records[0] for member in trial.paused]
            self.search.report(trial.asked.number, stop, trained)
        elif trial.verdict is not None:
            self.search.judged(trial.asked.number, trial.verdict)
        self.held.append(trial)

    def _judge(self) -> None:
        """Lets trials at a stop go on, or ends them, as soon as what decides it is known."""
        held, self.held = sorted(self.held, key=lambda t: t.asked.number), []
        for trial in held:
            stop = trial.stop
            if not self.pruning.can_judge(trial.asked.number, stop):
                self.held.append(trial)
                continue
            trial.reason = self._reason(trial, stop)
            if trial.reason and not trial.paused:
                self._tell(trial)
                continue
            trial.at += not trial.reason
            self.ready.append(trial)

    def _reason(self, trial: _Trial, stop: Stop) -> str:
        """Why a trial is stopped there; empty if it goes on."""
        if stop.replicates or trial.verdict is None:
            return self.pruning.reason(trial.asked.number, stop)
        return self.pruning.unworthy(trial.asked.number, trial.verdict)

    def _tell(self, trial: _Trial) -> None:
        record = TrialRecord(trial.records, trial.verdict, trial.reason)
        if self.search.tell(trial.asked.number, record):
            self.on_told(trial.asked, record, trial.started)


def train_again(search: Search, trial: FinishedTrial, modes: Modes) -> TrialRecord:
    """The record of a finished trial once more: trained as far as it was, to the same numbers."""
    config = search.config_of(trial)
    jobs = [Job(config, seed) for seed in replicate_seeds(config.seed, search.config.search.replicates)]
    verdict = typical(verdicts(jobs))
    reason: str = trial.user_attrs.get("pruned", "")
    if trial.state.name == "PRUNED" and trial.last_step is None:
        return TrialRecord([], verdict, reason)
    until = None
    if reason:
        stops = stops_of(config)
        last = next(i for i, stop in enumerate(stops) if stop.replicates and stop.step == trial.last_step)
        jobs = jobs[: max(stops[last].replicates) + 1]
        until = stops[last].epoch if stops[last].epoch < config.trainer.epochs else None
    return TrialRecord(run_jobs(jobs, lambda _: check_signals(), until, modes.kept), verdict, reason)
