"""What a study found, as numbers and rows: the same for the terminal, the page and MLflow."""

from dataclasses import dataclass

import pandas as pd

from pipeline.tracking import StudyRuns

__all__ = ["Row", "Summary", "summarise"]


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
    """

    objective: str
    count: int
    diverged: int
    best: list[Row]
    median: Row
    worst: Row


def summarise(runs: StudyRuns, top: int) -> Summary | None:
    """Ranks the stored trials; None if there is none."""
    if runs.trials.empty:
        return None
    ranked = rank(runs.trials, runs.objective)
    rows = [_row(ranked.iloc[i]) for i in range(len(ranked))]
    diverged = sum(row.diverged > 0 for row in rows)
    return Summary(runs.objective, len(rows), diverged, rows[:top], rows[len(rows) // 2], rows[-1])


def rank(trials: pd.DataFrame, objective: str) -> pd.DataFrame:
    """Trials from the best to the worst; those without a value come last, ties by number."""
    column = f"metrics.{objective}"
    values = trials[column] if column in trials else pd.Series(float("nan"), index=trials.index)
    keyed = trials.assign(_value=values if objective == "val/loss" else -values)
    return keyed.sort_values(["_value", "trial"], na_position="last").drop(columns="_value")


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
