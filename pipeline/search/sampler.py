"""Samplers whose draws depend on the study's seed, the trial's number and what it may see alone.

A sampler with one seed for its whole life repeats its first draws when a study is
resumed. Here each trial gets a sampler of its own, seeded by the study's seed and the
trial's number. So a study of 10 random trials is the beginning of one of 25, and one that
was interrupted goes on with the trials it would have had.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, GPSampler, GridSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.config import Config
from pipeline.search.space import Axis
from pipeline.search.view import view
from pipeline.seeds import stream_seed

__all__ = ["Suggester", "grid_size"]


class Suggester:
    """Suggests the values of one trial after the other, by the sampler that ``search.sampler`` names.

    Args:
        fixed: values of the first trials that are given and not suggested, in Optuna's terms.
    """

    def __init__(self, config: Config, axes: Sequence[Axis], fixed: Sequence[Mapping[str, Any]]) -> None:
        self._seed = config.seed
        self._make = _makers(config, axes, len(fixed))[config.search.sampler]
        self._fixed = fixed
        self._minimize = config.search.objective == "val/loss"
        self.distributions = {axis.key: axis.distribution for axis in axes}

    def suggest(self, number: int, seen: Sequence[FrozenTrial]) -> dict[str, Any]:
        """The values of trial ``number``, in Optuna's terms, from the trials ``seen``."""
        fixed = dict(self._fixed[number]) if number < len(self._fixed) else {}
        fixed |= {k: _only(d) for k, d in self.distributions.items() if d.single() and k not in fixed}
        if fixed.keys() == self.distributions.keys():
            return fixed
        sampler = self._make(stream_seed(self._seed, f"sampler {number}") % 2**32, number)
        drawn = self._draw(sampler, view(seen, self._minimize, sampler), number)
        return drawn | fixed

    def _draw(self, sampler: BaseSampler, study: Study, number: int) -> dict[str, Any]:
        trial = create_trial(state=TrialState.RUNNING, system_attrs={"grid_id": number})
        trial.number = number
        space = {key: d for key, d in sorted(self.distributions.items()) if not d.single()}
        drawn = sampler.sample_relative(study, trial, space)
        left = {key: d for key, d in self.distributions.items() if key in space and key not in drawn}
        return drawn | {key: sampler.sample_independent(study, trial, key, d) for key, d in left.items()}


class _Sequence(QMCSampler):
    """Quasi-random points, each found by its place and not by counting those before it."""

    def __init__(self, place: int, **options: Any) -> None:
        super().__init__(**options)
        self._place = place

    def _find_sample_id(self, study: Study, search_space: dict[str, BaseDistribution]) -> int:  # noqa: ARG002
        return self._place


def _makers(config: Config, axes: Sequence[Axis], given: int) -> dict[str, Callable[[int, int], BaseSampler]]:
    """``(seed, number) -> sampler``, by name."""
    # A sequence or a grid is the study's, so its seed is; only what is drawn is the trial's.
    study_seed = stream_seed(config.seed, "sampler") % 2**32
    grid: list[GridSampler] = []

    def qmc(seed: int, number: int) -> BaseSampler:
        if number < given:
            return RandomSampler(seed=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            independent = RandomSampler(seed=seed)
            return _Sequence(number - given, scramble=True, seed=study_seed, independent_sampler=independent)

    def gridded(seed: int, number: int) -> BaseSampler:
        if not grid:  # the whole product, shuffled: made once
            grid.append(GridSampler({a.key: a.grid(config.search.grid_points) for a in axes}, seed=study_seed))
        return grid[0]

    return {
        "tpe": lambda seed, _: TPESampler(seed=seed),
        "random": lambda seed, _: RandomSampler(seed=seed),
        "qmc": qmc,
        "gp": lambda seed, _: GPSampler(seed=seed, warn_independent_sampling=False),
        "grid": gridded,
    }


def _only(distribution: BaseDistribution) -> Any:
    """The one value of a distribution that has no other."""
    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices[0]
    return distribution.low  # type: ignore[attr-defined]


def grid_size(config: Config, axes: Sequence[Axis]) -> int:
    """How many points the grid has."""
    size = 1
    for axis in axes:
        size *= len(axis.grid(config.search.grid_points))
    return size
