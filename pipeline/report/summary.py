"""What a study found, as numbers and rows: the same for the terminal, the page and MLflow."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.tracking import StudyRuns

__all__ = ["BEST_DOTS", "Row", "Summary", "some_trials", "summarise"]

Metrics = Callable[[str], "pd.Series[float]"]
"""The runs' metrics by name, NaN for those they don't have."""


WEAK = 0.9
# Symptom -> which runs show it. Comparisons with a missing value are false.
SYMPTOMS: dict[str, Callable[[Metrics], "pd.Series[bool]"]] = {
    "diverged while training": lambda m: m("health/diverged_replicates") > 0,
    "start with copies (effective width below 0.5)": lambda m: m("init/redundancy/effective_width") < 0.5,
    "start saturated (flat fraction above 0.5)": lambda m: m("init/saturation/flat_fraction") > 0.5,
    "start with next to no gradient in the first layer (ratio below 0.01)": (
        lambda m: m("init/signal/gradient_ratio") < 0.01
    ),
}
OTHER = "start with none of these"
# Trials that are drawn as dots; of more, the best and an even choice of the others.
DOTS, BEST_DOTS = 1000, 100


@dataclass(frozen=True)
class Row:
    """One trial, as people compare it."""

    trial: int
    run_id: str
    title: str
    val_accuracy: float
    spread: float
    effective_width: float
    flat_fraction: float
    diverged: int


@dataclass(frozen=True)
class Summary:
    """The best few trials, the median and the worst, by the study's objective.

    Attributes:
        objective: the metric that ranks them.
        count: trials there are.
        diverged: trials in which a replicate diverged.
        weak: trials that stay below ``WEAK`` of the best validation accuracy.
        symptoms: what those show before their first step, the first that applies of
            ``SYMPTOMS``, with how many show it.
    """

    objective: str
    count: int
    diverged: int
    best: list[Row]
    median: Row
    worst: Row
    weak: int
    symptoms: dict[str, int]


def summarise(runs: StudyRuns, top: int) -> Summary | None:
    """Ranks the stored trials; None if there is none."""
    if runs.trials.empty:
        return None
    ranked = rank(runs.trials, runs.objective)
    accuracy = _metrics(ranked)("val/accuracy")
    weak = ranked[~(accuracy >= WEAK * accuracy.max())]
    return Summary(
        objective=runs.objective,
        count=len(ranked),
        diverged=int((_metrics(ranked)("health/diverged_replicates") > 0).sum()),
        best=[_row(ranked.iloc[i]) for i in range(min(top, len(ranked)))],
        median=_row(ranked.iloc[len(ranked) // 2]),
        worst=_row(ranked.iloc[-1]),
        weak=len(weak),
        symptoms=_symptoms(weak),
    )


def rank(trials: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Trials from the best to the worst; by what the search was told, ties by number."""
    values = trials["metrics.search/objective"]
    keyed = trials.assign(_value=values if objective == "val/loss" else -values)
    return keyed.sort_values(["_value", "trial"], na_position="last").drop(columns="_value")


def some_trials(trials: pd.DataFrame, objective: str) -> pd.DataFrame:
    """At most ``DOTS`` trials, by number: the ``BEST_DOTS`` best, and of the others evenly."""
    if len(trials) <= DOTS:
        return trials
    best = rank(trials, objective).index[:BEST_DOTS]
    others = trials.index.drop(best)
    evenly = np.linspace(0, len(others) - 1, DOTS - BEST_DOTS).round().astype(int)
    return trials.loc[sorted([*best, *others[evenly]])]


def _metrics(trials: pd.DataFrame) -> Metrics:
    return lambda name: trials.get(f"metrics.{name}", pd.Series(float("nan"), trials.index)).astype(float)


def _symptoms(weak: pd.DataFrame) -> dict[str, int]:
    """How many show each symptom first."""
    counts = {}
    for name, shows in SYMPTOMS.items():
        found = shows(_metrics(weak))
        counts[name] = int(found.sum())
        weak = weak[~found]
    counts[OTHER] = len(weak)
    return {name: count for name, count in counts.items() if count}


def _row(run: "pd.Series[float]") -> Row:
    def metric(name: str) -> float:
        return float(run.get(f"metrics.{name}", float("nan")))

    return Row(
        trial=int(run["trial"]),
        run_id=str(run["run_id"]),
        title=str(run["title"]),
        val_accuracy=metric("val/accuracy"),
        spread=metric("spread/val/accuracy"),
        effective_width=metric("redundancy/effective_width"),
        flat_fraction=metric("saturation/flat_fraction"),
        diverged=round(metric("health/diverged_replicates")),
    )
