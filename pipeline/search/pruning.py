"""Which trials are stopped before their end: Optuna's pruners, with a fixed view of the study.

A trial's fate follows from trials with lower numbers, as far as they had come for it to
know: at a rung of successive halving those that reached it, for the others the results
that it was suggested from. Neither timing nor an interruption changes it. Of many such
trials the latest ``search.history`` count, so that the last judgement costs no more than
the thousandth.
"""

import warnings
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner, WilcoxonPruner
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.config import Config
from pipeline.search.ledger import Ledger
from pipeline.search.view import view

__all__ = ["Pruning"]


class Pruning:
    """The pruner of a study.

    Attributes:
        rungs: epochs after which a trial is judged, before the last.
        by_replicate: whether it is judged after each replicate instead.
    """

    def __init__(self, config: Config, ledger: Ledger, minimize: bool) -> None:
        search = config.search
        self.kind, self.ledger, self.minimize = search.pruner, ledger, minimize
        self.by_replicate = self.kind == "wilcoxon"
        self.rungs: list[int] = []
        if self.kind in ("halving", "median"):
            epoch = search.min_epochs
            while epoch < config.trainer.epochs:
                self.rungs.append(epoch)
                epoch *= search.reduction
        makers: dict[str, Callable[[], BasePruner]] = {
            "halving": lambda: SuccessiveHalvingPruner(search.min_epochs, search.reduction),
            "median": lambda: MedianPruner(n_startup_trials=5),
            "wilcoxon": lambda: WilcoxonPruner(p_threshold=0.1),
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            self._pruner = makers[self.kind]() if self.kind in makers else None
        self._at: dict[int, list[FrozenTrial]] = {rung: [] for rung in self.rungs}
        self._passed = dict.fromkeys(self.rungs, 0)
        self._values: dict[int, dict[int, float]] = {}
        for trial in ledger.results:
            for step, value in trial.intermediate_values.items():
                self.report(trial.number, step, value)

    def report(self, number: int, step: int, value: float) -> None:
        """The objective of a trial after an epoch, or that of a replicate."""
        self._values.setdefault(number, {})[step] = value
        if step in self._at:
            rung = f"completed_rung_{self.rungs.index(step)}"  # where Optuna's pruner looks
            insort(self._at[step], self._trial(number, {step: value}, {rung: value}), key=_number)

    def can_judge(self, number: int, step: int) -> bool:
        """Whether all that the trial's fate follows from is known."""
        if self.kind != "halving":
            return True
        passed = self._passed[step]
        while passed < number and self._known(passed, step):
            passed += 1
        self._passed[step] = passed
        return passed >= number

    def _known(self, number: int, step: int) -> bool:
        return step in self._values.get(number, {}) or self.ledger[number].state.is_finished()

    def reason(self, number: int, step: int) -> str:
        """Why a trial is stopped there; empty if it goes on."""
        if self._pruner is None:
            return ""
        own = self._trial(number, self._values[number])
        others = self._rivals(number, step)
        if not self._pruner.prune(view([*others, own], self.minimize, RandomSampler()), own):
            return ""
        del self._values[number]  # it will be told, and never be judged again
        where = f"replicate {step + 1}" if self.by_replicate else f"epoch {step}"
        return f"stopped after {where} by {self.kind} pruning, at {own.intermediate_values[step]:.4g}"

    def _rivals(self, number: int, step: int) -> list[FrozenTrial]:
        if self.kind == "halving":
            end = bisect_left(self._at[step], number, key=_number)
            return self._at[step][max(end - self.ledger.history, 0) : end]
        visible = self.ledger.visible_to(number)
        if self.kind == "wilcoxon":  # the best is all that it looks at
            best = self.ledger.best_before(visible)
            return [best] if best is not None else []
        return self.ledger.complete_before(visible)

    def _trial(self, number: int, values: dict[int, float], attrs: dict[str, Any] | None = None) -> FrozenTrial:
        trial = create_trial(
            state=TrialState.RUNNING,
            intermediate_values=dict(values),
            system_attrs=self._earlier(values) | (attrs or {}),
        )
        trial.number = number
        return trial

    def _earlier(self, values: dict[int, float]) -> dict[str, Any]:
        """The rungs of successive halving that a trial has behind it, but for the last that it reached."""
        reached: Sequence[int] = [rung for rung in self.rungs if rung in values][:-1]
        return {f"completed_rung_{self.rungs.index(rung)}": values[rung] for rung in reached}


def _number(trial: FrozenTrial) -> int:
    return trial.number
