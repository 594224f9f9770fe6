"""Which trials are stopped before their end: by their verdict, and by Optuna's pruners.

A trial's fate follows from trials with lower numbers, as far as they had come for it to
know: for the verdict and at a rung of successive halving those that reached it, for the
other pruners the results that it was suggested from. Neither timing nor an interruption
changes it. Of many trials at a rung or with results the latest ``search.history`` count,
so that the last judgement costs no more than the thousandth.
"""

import warnings
from bisect import bisect_left, insort
from collections.abc import Callable, Mapping
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner, WilcoxonPruner
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.config import Config
from pipeline.records import Verdict
from pipeline.search.ledger import Ledger
from pipeline.search.stops import Stop, stops_of
from pipeline.search.view import view

__all__ = ["SCORE", "Pruning", "standing"]

SCORE = "score"
"""The attribute of a stored trial that holds its verdict's score."""


class Pruning:
    """What stops the trials of a study.

    Attributes:
        stops: where each trial halts; the last is its end.
        by_replicate: whether replicates are judged one by one, and not their mean.
    """

    def __init__(self, config: Config, ledger: Ledger, minimize: bool) -> None:
        search = config.search
        self.kind, self.ledger, self.minimize = search.pruner, ledger, minimize
        self.share, self.reduction = search.min_verdict, search.reduction
        self.stops = stops_of(config)
        self.by_replicate = self.kind == "wilcoxon"
        self._rungs = {stop.step: i for i, stop in enumerate(s for s in self.stops[:-1] if s.replicates)}
        makers: dict[str, Callable[[], BasePruner]] = {
            "halving": lambda: SuccessiveHalvingPruner(1, search.reduction),
            "median": lambda: MedianPruner(n_startup_trials=5),
            "wilcoxon": lambda: WilcoxonPruner(p_threshold=0.1),
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._pruner = makers[self.kind]() if self.kind in makers else None
        self._at: dict[int, list[FrozenTrial]] = {step: [] for step in self._rungs}
        self._passed = dict.fromkeys((stop.step for stop in self.stops), 0)
        self._values: dict[int, dict[int, float]] = {}
        self._scores: dict[int, float] = {}
        self._stopped: set[int] = set()  # whether told yet or not
        self._leading: list[float] = []  # at n, the best score up to n
        for trial in ledger.results:
            self._scores[trial.number] = trial.user_attrs.get(SCORE, 0.0)
            for step, value in trial.intermediate_values.items():
                self.report(trial.number, step, value)

    def heard(self, trial: FrozenTrial) -> None:
        """Takes up how far a trial of another worker has come."""
        if SCORE in trial.user_attrs:
            self._scores[trial.number] = trial.user_attrs[SCORE]
        for step, value in trial.intermediate_values.items():
            self.report(trial.number, step, value)

    def report(self, number: int, step: int, value: float) -> None:
        """The objective of a trial at a stop; a trial that was cut off comes there again, with the same."""
        own = self._values.setdefault(number, {})
        again, own[step] = step in own, value
        if self.kind == "halving" and step in self._at and not again:
            rung = self._rungs[step]
            insort(self._at[step], self._trial(number, {self._resource(rung): value}, {_key(rung): value}), key=_number)

    def judged(self, number: int, verdict: Verdict) -> None:
        """The verdict on a trial."""
        self._scores[number] = standing(verdict)

    def can_judge(self, number: int, stop: Stop) -> bool:
        """Whether all that the trial's fate follows from is known."""
        if stop.replicates and self.kind != "halving":
            return True
        passed = self._passed[stop.step]
        while passed < number and self._known(passed, stop):
            passed += 1
        self._passed[stop.step] = passed
        return passed >= number

    def _known(self, number: int, stop: Stop) -> bool:
        ended = number in self._stopped or self.ledger[number].state.is_finished()
        reached = stop.step in self._values.get(number, {}) if stop.replicates else number in self._scores
        return ended or reached

    def unworthy(self, number: int, verdict: Verdict) -> str:
        """Why a trial isn't trained at all, by its verdict and the best among those before; empty if it is."""
        for i in range(len(self._leading), number + 1):
            self._leading.append(max(self._scores.get(i, 0.0), self._leading[-1] if i else 0.0))
        best, reason = self._leading[number], ""
        if verdict.hopeless:
            reason = f"not trained: {verdict.sentence}"
        elif verdict.certain and verdict.score < self.share * best:
            reason = (
                f"not trained: its score {verdict.score:.2f} is below {self.share:g} of the best so far, {best:.2f}"
            )
        if reason:
            self._stopped.add(number)
        return reason

    def reason(self, number: int, stop: Stop) -> str:
        """Why a trial is stopped there; empty if it goes on."""
        if self._pruner is None:
            return ""
        values = self._values[number]
        own = self._on_rungs(number, values) if self.kind == "halving" else self._trial(number, values)
        if not self._pruner.prune(view([*self._rivals(number, stop.step), own], self.minimize, RandomSampler()), own):
            return ""
        self._stopped.add(number)
        return f"stopped after {stop.name} by {self.kind} pruning, at {values[stop.step]:.4g}"

    def _rivals(self, number: int, step: int) -> list[FrozenTrial]:
        if self.kind == "halving":
            end = bisect_left(self._at[step], number, key=_number)
            return self._at[step][max(end - self.ledger.history, 0) : end]
        visible = self.ledger.visible_to(number)
        if self.kind == "wilcoxon":  # the best is all that it looks at
            best = self.ledger.best_before(visible)
            return [best] if best is not None else []
        return self.ledger.complete_before(visible)

    def _on_rungs(self, number: int, values: Mapping[int, float]) -> FrozenTrial:
        """As Optuna's pruner looks at a trial: rungs are powers of the reduction, values of those behind attributes."""
        reached = [(rung, values[step]) for step, rung in self._rungs.items() if step in values]
        earlier = {_key(rung): value for rung, value in reached[:-1]}
        return self._trial(number, {self._resource(rung): value for rung, value in reached}, earlier)

    def _resource(self, rung: int) -> int:
        return int(self.reduction**rung)

    def _trial(self, number: int, values: Mapping[int, float], attrs: Mapping[str, Any] | None = None) -> FrozenTrial:
        trial = create_trial(state=TrialState.RUNNING, intermediate_values=dict(values), system_attrs=dict(attrs or {}))
        trial.number = number
        return trial


def standing(verdict: Verdict) -> float:
    """The score that later trials are held against: an uncertain one says nothing of them."""
    return verdict.score if verdict.certain else 0.0


def _key(rung: int) -> str:
    return f"completed_rung_{rung}"


def _number(trial: FrozenTrial) -> int:
    return trial.number
