"""A part of a study as a study of its own, for Optuna's samplers and pruners to look at."""

import copy
from collections.abc import Container, Sequence
from typing import Any

import optuna
from optuna import Study
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

__all__ = ["view"]


# ruff: noqa: ARG002  (the signatures are Optuna's)
class _Seen(InMemoryStorage):
    """Storage that holds the given trials. What is noted of another trial goes nowhere."""

    def __init__(self, trials: Sequence[FrozenTrial]) -> None:
        super().__init__()
        self._seen = trials

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        found = [t for t in self._seen if states is None or t.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return BaseStorage.get_best_trial(self, study_id)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        return


def view(trials: Sequence[FrozenTrial], minimize: bool, sampler: BaseSampler) -> Study:
    """A study of ``trials`` alone."""
    direction = StudyDirection.MINIMIZE if minimize else StudyDirection.MAXIMIZE
    return optuna.create_study(storage=_Seen(trials), direction=direction, sampler=sampler)
