"""Samplers whose draws depend on the study's seed and the trial's place in it alone.

A sampler with one seed for its whole life repeats its first draws when a study is
resumed. Here each trial gets a sampler of its own, seeded by the study's seed and the
trial's index. So a study of 10 random trials is the beginning of one of 25, and one that
was interrupted goes on with the trials it would have had.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, GridSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial

from pipeline.config import Config
from pipeline.search.space import Axis
from pipeline.seeds import stream_seed

__all__ = ["LOST", "PerTrialSampler", "grid_size", "make_sampler"]

LOST = "initlab:lost"
"""User attribute of a trial that was cut off and given again as another one."""


class PerTrialSampler(BaseSampler):
    """Delegates each trial to a sampler made for its index.

    Args:
        make: ``seed -> sampler``.
        seed: the study's.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        self._make = make
        self._seed = seed
        self._number = -1
        self._inner = make(0)

    def _for(self, study: Study, trial: FrozenTrial) -> BaseSampler:
        if trial.number != self._number:
            earlier = study.get_trials(deepcopy=False)[: trial.number]
            index = sum(LOST not in t.user_attrs for t in earlier)
            self._number = trial.number
            self._inner = self._make(stream_seed(self._seed, f"sampler {index}") % 2**32)
        return self._inner

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._for(study, trial).before_trial(study, trial)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._for(study, trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._for(study, trial).sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._for(study, trial).sample_independent(study, trial, param_name, param_distribution)


def make_sampler(config: Config, axes: list[Axis]) -> BaseSampler:
    """The sampler that ``search.sampler`` names."""
    grid = {axis.key: axis.grid(config.search.grid_points) for axis in axes}
    # A sequence or a grid is the study's, so its seed is; only what is drawn is the trial's.
    study_seed = stream_seed(config.seed, "sampler") % 2**32

    def qmc(seed: int) -> BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return QMCSampler(
                scramble=True,
                seed=study_seed,
                independent_sampler=RandomSampler(seed=seed),
                warn_independent_sampling=False,
            )

    makers: dict[str, Callable[[int], BaseSampler]] = {
        "tpe": lambda seed: TPESampler(seed=seed),
        "random": lambda seed: RandomSampler(seed=seed),
        "qmc": qmc,
        "gp": lambda seed: GPSampler(seed=seed, warn_independent_sampling=False),
        "grid": lambda _: GridSampler(grid, seed=study_seed),
    }
    return PerTrialSampler(makers[config.search.sampler], config.seed)


def grid_size(config: Config, axes: Sequence[Axis]) -> int:
    """How many points the grid has."""
    size = 1
    for axis in axes:
        size *= len(axis.grid(config.search.grid_points))
    return size
