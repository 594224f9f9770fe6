"""The trials of a study in memory, and which of them a suggestion rests on.

Trial k is suggested from the results of trials 0 to k - lag and from the values of those
after them, whatever else has been told by then. So a study's suggestions follow from its
seed and its results; neither timing nor an interruption changes them. The lag grows with
the study: where hundreds of results are known a few more say little, and larger stacks
train faster.
"""

import copy
from bisect import insort
from collections.abc import Iterable, Sequence
from itertools import islice

import numpy as np
from optuna.trial import FrozenTrial, TrialState

__all__ = ["Ledger"]

RESULTS = (TrialState.COMPLETE, TrialState.PRUNED)
# TPE models at most so many trials as good ones, and gives so many of the latest full weight.
BEST = LATEST = 25
# The lag becomes this share of the trials before, up to so many times what it began with.
LAG_SHARE, MOST_LAG = 4, 4

Rank = tuple[int, float, float, int]


class Ledger:
    """Trials by number. What it tells is kept up to date, never counted anew.

    Args:
        trials: those that there are, in their order.
        minimize: whether small values are good.
        lag: trials that may be under way at once, at first.
        history: results that a suggestion may rest on.

    Attributes:
        done: how many trials have a result. failed: how many others called failed.
        best: the best complete one, of equals the first; None if none is complete.
    """

    def __init__(self, trials: Iterable[FrozenTrial], minimize: bool, lag: int, history: int) -> None:
        self.trials: list[FrozenTrial] = []
        self.lag, self.history = lag, history
        self.done = self.failed = 0
        self.best: FrozenTrial | None = None
        self._sign = 1 if minimize else -1
        self._ended = 0  # trials below this number have ended
        self._ranked = 0  # trials below this number are ranked
        self._ranks: list[Rank] = []
        self._leaders: list[FrozenTrial | None] = [None]  # at n, the best below n
        for trial in trials:
            self.put(trial)

    def __len__(self) -> int:
        return len(self.trials)

    def __getitem__(self, number: int) -> FrozenTrial:
        return self.trials[number]

    def put(self, trial: FrozenTrial) -> None:
        """Adds the next trial, or puts a trial's new state in the place of its old one."""
        if trial.number == len(self.trials):
            self.trials.append(trial)
        else:
            self.trials[trial.number] = trial
        self.done += trial.state in RESULTS
        self.failed += trial.state == TrialState.FAIL
        self.best = self._better(self.best, trial)
        while self._ended < len(self.trials) and self.trials[self._ended].state.is_finished():
            self._ended += 1

    @property
    def open(self) -> list[int]:
        """Numbers of the trials that have not ended."""
        return [n for n in range(self._ended, len(self.trials)) if not self.trials[n].state.is_finished()]

    @property
    def visible(self) -> int:
        """Trials below this number are those whose results the next trial rests on."""
        return self.visible_to(len(self.trials))

    def visible_to(self, number: int) -> int:
        """The same for the trial ``number``."""
        return max(number - self.lag_of(number) + 1, 0)

    def lag_of(self, number: int) -> int:
        """How many trials may be under way when the trial ``number`` is suggested, it among them."""
        return max(self.lag, min(number // LAG_SHARE, MOST_LAG * self.lag))

    @property
    def under_way(self) -> int:
        """The same for the next trial."""
        return self.lag_of(len(self.trials))

    @property
    def ready(self) -> bool:
        """Whether the next trial can be suggested."""
        return self._ended >= self.visible

    @property
    def results(self) -> list[FrozenTrial]:
        """Trials with a result, by number."""
        return [trial for trial in self.trials if trial.state in RESULTS]

    def complete_before(self, number: int) -> list[FrozenTrial]:
        """The latest ``history`` complete trials below a number."""
        below = (self.trials[i] for i in range(number - 1, -1, -1))
        return list(islice((trial for trial in below if trial.state == TrialState.COMPLETE), self.history))[::-1]

    def best_before(self, number: int) -> FrozenTrial | None:
        """The best complete trial below a number, all below which have ended; of equals the first."""
        for trial in self.trials[len(self._leaders) - 1 : number]:
            self._leaders.append(self._better(self._leaders[-1], trial))
        return self._leaders[number]

    def seen(self) -> list[FrozenTrial]:
        """What the next trial is suggested from: results, and as running those that count as under way."""
        visible = self.visible
        results = [self.trials[i] for i in self._chosen(visible)]
        return [t for t in results if t.state in RESULTS] + [_running(t) for t in self.trials[visible:]]

    def _chosen(self, visible: int) -> Sequence[int]:
        """At most ``history`` numbers below ``visible``: the best, the latest, and evenly of all."""
        for trial in self.trials[self._ranked : visible]:
            if trial.state in RESULTS:
                insort(self._ranks, self._rank(trial))
                del self._ranks[BEST:]
        self._ranked = max(self._ranked, visible)
        if visible <= self.history:
            return range(visible)
        spread = np.linspace(0, visible - LATEST - 1, self.history - BEST - LATEST).round().astype(int).tolist()
        best = (number for *_, number in self._ranks)
        return sorted({*best, *spread, *range(visible - LATEST, visible)})

    def _better(self, best: FrozenTrial | None, trial: FrozenTrial) -> FrozenTrial | None:
        if trial.state != TrialState.COMPLETE:
            return best
        return trial if best is None or self._rank(trial) < self._rank(best) else best

    def _rank(self, trial: FrozenTrial) -> Rank:
        """Sorts as TPE does: complete trials by value, then pruned ones by how far they came."""
        if trial.state == TrialState.COMPLETE:
            return 0, self._sign * float(trial.values[0]), 0.0, trial.number
        if (step := trial.last_step) is not None:
            return 1, -step, self._sign * trial.intermediate_values[step], trial.number
        return 2, 0.0, 0.0, trial.number


def _running(trial: FrozenTrial) -> FrozenTrial:
    """The trial as it was before its end."""
    before = copy.copy(trial)
    before.state = TrialState.RUNNING
    return before
