"""The region of a search space that is as good as its best trial."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.report.summary import rank

__all__ = ["Range", "Region", "find_region"]

PURITY = 0.9
"""Share of the trials in the region that have to be as good as the best."""
PEEL = 0.05
"""Share of the trials in a box that one step takes away at one end of an axis."""
NEAR = 0.9
"""Trials whose accuracy is above this share of the best tell how much replicates differ."""
TOLERANCE = 0.005
"""Differences below half a point of accuracy, or 0.005 nats, are none."""


@dataclass(frozen=True)
class Range:
    """What a region spans of an axis.

    Attributes:
        low, high: the least and the largest value of a numeric axis.
        choices: the values of another axis; empty for a numeric one.
        whole: whether the region ends nowhere on this axis, though several values were tried.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()
    whole: bool = False

    @property
    def text(self) -> str:
        """``weight_init.scale 0.5 to 2``."""
        if self.whole:
            return f"any {self.key}"
        if self.choices:
            return f"{self.key} {' or '.join(self.choices)}"
        if self.low == self.high:
            return f"{self.key} {self.low:.3g}"
        return f"{self.key} {self.low:.3g} to {self.high:.3g}"


@dataclass(frozen=True)
class Region:
    """A box in the search space.

    Attributes:
        ranges: one an axis.
        trials: numbers of those in it. inside: how many these are. good: those of them that are as good as the best.
        all_good: as good anywhere.
        margin: by how much a trial may fall behind the best.
        reason: where the margin comes from, in words.
    """

    ranges: list[Range]
    trials: frozenset[int]
    good: int
    all_good: int
    margin: float
    reason: str

    @property
    def inside(self) -> int:
        return len(self.trials)

    @property
    def text(self) -> str:
        return ", ".join(r.text for r in self.ranges)


def find_region(trials: pd.DataFrame, axes: Sequence[str], objective: str, replicates: int) -> Region:
    """The largest box around the best trial in which nine of ten trials are as good as it.

    Found by peeling (PRIM: Friedman & Fisher 1999, "Bump hunting in high-dimensional data",
    sec. 4.1): from the box of all trials, a step takes away the twentieth of them at that end
    of an axis, or that choice, which leaves the largest share of good ones.

    A trial is as good if it falls behind by less than the half-width of the 95 % confidence
    interval of a difference of two means over replicates, with the variance within trials
    pooled over those that come near the best.

    Args:
        trials: rows with ``trial``, ``params.KEY`` and ``metrics.search/objective``; not empty.
    """
    ranked = rank(trials, objective)
    values = ranked["metrics.search/objective"].to_numpy(float)
    margin, reason = _margin(ranked, objective, replicates)
    good = np.abs(values - values[0]) <= margin + 1e-12
    columns = {key: _column(ranked, key) for key in axes}
    inside, peeled = np.ones(len(ranked), dtype=bool), set()
    while good[inside].mean() < PURITY:
        left = [(inside & kept, key) for key, column in columns.items() for kept in _peels(column, inside)]
        left = [(box, key) for box, key in left if box[0] and box.sum() < inside.sum()]  # the best trial stays
        if not left:
            break
        inside, key = max(left, key=lambda choice: (good[choice[0]].mean(), good[choice[0]].sum()))
        peeled.add(key)
    ranges = [_range(key, column, inside, key not in peeled) for key, column in columns.items()]
    numbers = frozenset(ranked["trial"].to_numpy(int)[inside].tolist())
    return Region(ranges, numbers, int(good[inside].sum()), int(good.sum()), margin, reason)


def _margin(ranked: pd.DataFrame, objective: str, replicates: int) -> tuple[float, str]:
    spread = ranked.get(f"metrics.spread/{objective}")
    if spread is None or replicates < 2:
        return TOLERANCE, "a tolerance, as no replicates tell how much is chance"
    values = ranked["metrics.search/objective"].to_numpy(float)
    near = (values >= NEAR * values[0]) & spread.notna().to_numpy()
    if not near.any():
        return TOLERANCE, "a tolerance, as no replicates tell how much is chance"
    freedom = int(near.sum()) * (replicates - 1)
    std = float(np.sqrt(np.mean(spread.to_numpy(float)[near] ** 2)))
    chance = float(stats.t.ppf(0.975, freedom)) * std * float(np.sqrt(2 / replicates))
    if chance < TOLERANCE:
        return TOLERANCE, "a tolerance: replicates differ by less"
    return chance, f"half the 95 % interval of a difference of two means of {replicates} replicates"


def _column(ranked: pd.DataFrame, key: str) -> np.ndarray:
    """An axis as numbers, or as text where it has others."""
    raw = ranked[f"params.{key}"]
    numbers = pd.to_numeric(raw, errors="coerce")
    return raw.to_numpy(str) if numbers.isna().any() else numbers.to_numpy(float)


def _peels(column: np.ndarray, inside: np.ndarray) -> list[np.ndarray]:
    """What each way to peel an axis keeps."""
    own = column[inside]
    if column.dtype.kind == "U":
        return [column != choice for choice in np.unique(own)]
    steps = max(1, round(PEEL * len(own)))
    ordered = np.sort(own)
    return [column > ordered[steps - 1], column < ordered[-steps]]


def _range(key: str, column: np.ndarray, inside: np.ndarray, whole: bool) -> Range:
    own = column[inside]
    whole = whole and len(np.unique(column)) > 1
    if column.dtype.kind == "U":
        return Range(key, choices=tuple(np.unique(own).tolist()), whole=whole)
    return Range(key, float(own.min()), float(own.max()), whole=whole)
