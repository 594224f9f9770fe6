"""What a study found, as numbers and rows: the same for the terminal, the page and MLflow."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from pipeline.tracking import StudyRuns

__all__ = ["Row", "Summary", "summarise"]

Metrics = Callable[[str], float]
"""A run's metrics by name, NaN for those it doesn't have."""


WEAK = 0.9
# Symptom -> whether a run shows it. Comparisons with a missing value are false.
SYMPTOMS: dict[str, Callable[[Metrics], bool]] = {
    "diverged while training": lambda m: m("health/diverged_replicates") > 0,
    "start with copies (effective width below 0.5)": lambda m: m("init/redundancy/effective_width") < 0.5,
    "start saturated (flat fraction above 0.5)": lambda m: m("init/saturation/flat_fraction") > 0.5,
    "start with next to no gradient in the first layer (ratio below 0.01)": (
        lambda m: m("init/signal/gradient_ratio") < 0.01
    ),
}
OTHER = "start with none of these"


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
    rows = [_row(ranked.iloc[i]) for i in range(len(ranked))]
    diverged = sum(row.diverged > 0 for row in rows)
    weak = ranked[~(ranked["metrics.val/accuracy"] >= WEAK * ranked["metrics.val/accuracy"].max())]
    symptoms = Counter(_symptom(weak.iloc[i]) for i in range(len(weak)))
    counts = {name: symptoms[name] for name in (*SYMPTOMS, OTHER) if symptoms[name]}
    middle = rows[len(rows) // 2]
    return Summary(runs.objective, len(rows), diverged, rows[:top], middle, rows[-1], len(weak), counts)


def rank(trials: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Trials from the best to the worst; by what the search was told, ties by number."""
    values = trials["metrics.search/objective"]
    keyed = trials.assign(_value=values if objective == "val/loss" else -values)
    return keyed.sort_values(["_value", "trial"], na_position="last").drop(columns="_value")


def _metrics(run: "pd.Series[float]") -> Metrics:
    return lambda name: float(run.get(f"metrics.{name}", float("nan")))


def _symptom(run: "pd.Series[float]") -> str:
    metric = _metrics(run)
    return next((name for name, shows in SYMPTOMS.items() if shows(metric)), OTHER)


def _row(run: "pd.Series[float]") -> Row:
    metric = _metrics(run)
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
