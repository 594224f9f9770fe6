"""The tables beside a report: all that its numbers are made of."""

import io
from collections.abc import Sequence

import pandas as pd

from pipeline.exemplars import Exemplar
from pipeline.report.contest import Contest
from pipeline.report.region import Region
from pipeline.report.trials import Front
from pipeline.tracking import StudyRuns

__all__ = ["as_csv", "as_parquet", "trials_table"]

FIRST = ("kind", "trial", "run_id", "state", "reason", "title", "seed", "in_region", "on_front")


def trials_table(
    runs: StudyRuns,
    region: Region | None,
    front: Front | None,
    contest: Contest | None,
    exemplars: Sequence[Exemplar],
) -> pd.DataFrame:
    """One row a trial, and one a network where the report looks at single ones.

    ``kind`` is ``trial`` (values are means over its replicates; also those that were pruned or
    failed), ``replicate`` (a network of a trial that schemes are compared by; its run is the
    trial's), ``confirmation`` (the winner on a fresh seed; its run is the study's) or
    ``exemplar`` (a network of the pictures, its name in ``title``; its run is the study's).
    Columns ``params.KEY`` and ``metrics.KEY`` as MLflow names them; ``in_region`` and
    ``on_front`` of trials: whether the region that is as good as the best holds them, and
    whether they are on the Pareto front.
    """
    known = runs.trials.drop(columns=["artifacts"], errors="ignore")
    trials = runs.states.merge(known.drop(columns=["run_id"], errors="ignore"), on="trial", how="left") if len(
        known
    ) else runs.states.copy()  # fmt: skip
    good = region.trials if region is not None else ()
    best = front.best["trial"].tolist() if front is not None else ()
    parts = [trials.assign(kind="trial", in_region=trials["trial"].isin(good), on_front=trials["trial"].isin(best))]
    if contest is not None:
        chosen = {entry.trial: entry.run_id for entry in contest.entries}
        long = runs.replicate_values(list(chosen.values()))
        parts.append(_networks(long, "replicate").assign(run_id=lambda t: t["trial"].map(chosen)))
    confirmed = runs.confirmation_values()
    if confirmed is not None:
        parts.append(_networks(confirmed, "confirmation").assign(run_id=runs.parent.info.run_id))
    parts.append(
        pd.DataFrame(
            {
                "kind": "exemplar",
                "run_id": runs.parent.info.run_id,
                "title": [own.name for own in exemplars],
                "metrics.test/accuracy": [own.accuracy for own in exemplars],
            }
        )
    )
    table = pd.concat(parts, ignore_index=True)
    first = [name for name in FIRST if name in table]
    return table[[*first, *sorted(str(name) for name in table if name not in first)]]


def _networks(long: pd.DataFrame, kind: str) -> pd.DataFrame:
    """One row a network of ``trial seed metric value``."""
    wide = long.pivot_table(index=["trial", "seed"], columns="metric", values="value", dropna=False)
    return wide.add_prefix("metrics.").dropna(how="all").reset_index().assign(kind=kind)


def as_csv(table: pd.DataFrame) -> bytes:
    """CSV with every digit of every number."""
    return table.to_csv(index=False, float_format="%.17g").encode()


def as_parquet(table: pd.DataFrame) -> bytes:
    """Parquet."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()
