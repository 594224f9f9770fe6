"""Scheme against scheme: the best trial of each, seed by seed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.report.summary import rank
from pipeline.statistics import Comparison, Spread, compare, holm, spread

__all__ = ["ALPHA", "METRIC", "Contest", "Entry", "Pair", "contest_axis", "hold_contest"]

METRIC = "test/accuracy"
"""What is compared: the best trial of each is chosen by another, the search's objective."""
ALPHA = 0.05
PREFERRED = ("weight_init.name", "bias_init.name", "arm")


@dataclass(frozen=True)
class Entry:
    """The best trial of one scheme.

    Attributes:
        tried: how many trials of the scheme there are, of which this is the best.
        values: the metric by seed; 0 for a network that diverged.
        rank: mean over seeds of its rank among all, 1 for the best.
    """

    name: str
    trial: int
    run_id: str
    title: str
    tried: int
    values: "pd.Series[float]"
    rank: float

    @property
    def spread(self) -> Spread:
        return spread(self.values.to_numpy())


@dataclass(frozen=True)
class Pair:
    """Two entries: the paired comparison over their seeds, and its p after Holm's correction."""

    a: Entry
    b: Entry
    comparison: Comparison
    p: float

    @property
    def differs(self) -> bool:
        return self.p < ALPHA


@dataclass(frozen=True)
class Contest:
    """The schemes of a study.

    Attributes:
        axis: the key that tells them apart.
        entries: from the lowest mean rank up.
        pairs: each two of them.
        cliques: runs of neighbouring entries, by their places, no two of which differ significantly.
        friedman: p of Friedman's test that all ranks are chance; NaN with fewer than three entries.
    """

    axis: str
    entries: list[Entry]
    pairs: list[Pair]
    cliques: list[tuple[int, int]]
    friedman: float

    @property
    def seeds(self) -> int:
        return len(self.entries[0].values)


def contest_axis(trials: pd.DataFrame, axes: Sequence[str]) -> str | None:
    """The axis that tells schemes apart: one that isn't numeric and has two values or more."""
    found = [
        key
        for key in axes
        if pd.to_numeric(trials[f"params.{key}"], errors="coerce").isna().any()
        and trials[f"params.{key}"].nunique() > 1
    ]
    return min(found, key=lambda key: PREFERRED.index(key) if key in PREFERRED else len(PREFERRED), default=None)


def hold_contest(
    trials: pd.DataFrame, axis: str, objective: str, replicates: Callable[[Sequence[str]], pd.DataFrame]
) -> Contest | None:
    """Compares the best trials of each value of an axis; None with fewer than two of them.

    Demsar 2006, "Statistical comparisons of classifiers over multiple data sets", with seeds in
    place of datasets, and paired t-tests under Holm's correction in place of Nemenyi's.

    Args:
        replicates: gives ``trial seed metric value`` of the trials with these run ids.
    """
    ranked = rank(trials, objective)
    best = ranked.drop_duplicates(f"params.{axis}")
    long = replicates(best["run_id"].tolist())
    wide = long[long["metric"] == METRIC].pivot_table(index="seed", columns="trial", values="value", dropna=False)
    wide = wide.fillna(0.0)
    if len(best) < 2 or wide.empty:
        return None
    ranks = wide.rank(axis=1, ascending=False).mean()
    tried = trials[f"params.{axis}"].value_counts()
    entries = [
        Entry(str(name), int(n), run_id, title, int(tried[name]), wide[n], float(ranks[n]))
        for name, n, run_id, title in best[[f"params.{axis}", "trial", "run_id", "title"]].itertuples(index=False)
        if n in wide
    ]
    entries.sort(key=lambda entry: (entry.rank, entry.trial))
    pairs = _pairs(entries)
    columns = [entry.values.to_numpy() for entry in entries]
    several = len(entries) > 2 and len(wide) > 1 and np.ptp(columns) > 0
    friedman = float(stats.friedmanchisquare(*columns).pvalue) if several else float("nan")
    return Contest(axis, entries, pairs, _cliques(entries, pairs), friedman)


def _pairs(entries: Sequence[Entry]) -> list[Pair]:
    couples = list(combinations(entries, 2))
    compared = [compare(a.values.to_numpy(), b.values.to_numpy(), (0.0,)) for a, b in couples]
    adjusted = holm([c.p for c in compared])
    return [Pair(a, b, c, p) for (a, b), c, p in zip(couples, compared, adjusted, strict=True)]


def _cliques(entries: Sequence[Entry], pairs: Sequence[Pair]) -> list[tuple[int, int]]:
    """First and last place of each longest run of entries that can't be told apart."""
    differ: Mapping[frozenset[str], bool] = {frozenset((pair.a.name, pair.b.name)): pair.differs for pair in pairs}
    names = [entry.name for entry in entries]
    runs = []
    for first in range(len(names)):
        last = first
        while last + 1 < len(names) and not any(
            differ[frozenset((names[i], names[last + 1]))] for i in range(first, last + 1)
        ):
            last += 1
        runs.append((first, last))
    return [(a, b) for a, b in runs if b > a and not any((c, d) != (a, b) and c <= a and b <= d for c, d in runs)]
