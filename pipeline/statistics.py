"""Paired comparisons over seeds, and their correction for being many."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

__all__ = ["Comparison", "Spread", "compare", "holm", "spread"]

LEVEL = 0.95
EQUAL = 1e-12  # differences that should be equal differ by the rounding of a subtraction


@dataclass(frozen=True)
class Spread:
    """A metric over seeds: mean, 95 % confidence interval of the mean (t), standard deviation, count."""

    mean: float
    low: float
    high: float
    std: float
    count: int


@dataclass(frozen=True)
class Comparison:
    """Differences over the seeds that two arms share.

    Attributes:
        difference: the mean difference with its 95 % confidence interval.
        effect: Cohen's d_z: mean difference over the standard deviation of the differences;
            infinite where they are all equal and not 0, NaN without two seeds.
        p: of the two-sided paired t-test that the mean difference equals the bound nearest to it.
    """

    difference: Spread
    effect: float
    p: float


def spread(values: Sequence[float] | np.ndarray) -> Spread:
    """Mean and spread of finite values; NaN where too few are there."""
    array = np.asarray(values, dtype=float)
    count = len(array)
    if count < 2:
        return Spread(float(array[0]) if count else math.nan, math.nan, math.nan, math.nan, count)
    mean, std = float(array.mean()), float(array.std(ddof=1))
    half = float(stats.t.ppf(0.5 + LEVEL / 2, count - 1)) * std / math.sqrt(count)
    return Spread(mean, mean - half, mean + half, std, count)


def compare(a: Sequence[float] | np.ndarray, b: Sequence[float] | np.ndarray, bounds: Sequence[float]) -> Comparison:
    """Compares ``a`` with ``b``, seed by seed.

    The test asks on which side of the nearest of ``bounds`` the mean difference lies. With
    one bound that is the paired t-test shifted by it; with -m and +m it is, on the inside,
    the equivalence test by two one-sided tests (Schuirmann 1987) at half the level.

    Where all differences are equal the t statistic is infinite, or undefined on the bound
    itself: p is 0, or 1. One seed tells nothing: p is 1.
    """
    difference = spread(np.asarray(a, dtype=float) - np.asarray(b, dtype=float))
    if difference.count < 2:
        return Comparison(difference, math.nan, 1.0)
    away = min(abs(difference.mean - bound) for bound in bounds)
    if difference.std < EQUAL:
        effect = math.copysign(math.inf, difference.mean) if abs(difference.mean) > EQUAL else 0.0
        return Comparison(difference, effect, 0.0 if away > EQUAL else 1.0)
    t = away / (difference.std / math.sqrt(difference.count))
    return Comparison(difference, difference.mean / difference.std, float(2 * stats.t.sf(t, difference.count - 1)))


def holm(p: Sequence[float]) -> list[float]:
    """Adjusted p-values: Holm 1979, which keeps the chance of any false finding below the level."""
    order = np.argsort(p, kind="stable")
    adjusted = [0.0] * len(p)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = largest
    return adjusted
