"""Reads a study back from MLflow, for reports: what is shown is what was stored."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from mlflow.entities import Run

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.records import Curve
from pipeline.tracking.confirmation import Confirmation
from pipeline.tracking.entities import LAYERS, NETWORK, REPLICATES
from pipeline.tracking.runs import REASON, find_parent, finished_children, pruned_children
from pipeline.tracking.store import Store, open_store

__all__ = ["StudyRuns", "read_study"]


@dataclass(frozen=True)
class StudyRuns:
    """The stored runs of a study.

    Attributes:
        trials: one row a finished child: ``run_id``, ``title``, ``trial``, every param as
            ``params.KEY`` and every metric's last value as ``metrics.KEY``.
        pruned: ``{trial: why}`` of the trials that were not trained to their end.
    """

    store: Store
    study: str
    parent: Run
    trials: pd.DataFrame
    pruned: dict[int, str]

    @property
    def confirmation(self) -> Confirmation | None:
        return Confirmation.of(self.parent)

    @property
    def objective(self) -> str:
        return str(self.parent.data.params["search.objective"])

    @property
    def replicates(self) -> int:
        return int(self.parent.data.params["search.replicates"])

    @property
    def axes(self) -> list[str]:
        """The keys that the study searched."""
        return str(self.parent.data.params["search.axes"]).split(",")

    @property
    def question(self) -> str | None:
        """The question that the study answers, if it answers one."""
        found: str | None = self.parent.data.tags.get("initlab.question")
        return found

    @cached_property
    def config(self) -> dict[str, Any]:
        """The study's resolved configuration, as nested dicts."""
        path = Path(self.store.client.download_artifacts(self.parent.info.run_id, "config.yaml"))
        tree: dict[str, Any] = yaml.safe_load(path.read_text())
        return tree

    @property
    def finished(self) -> bool:
        """Whether the process that ran it came to its end."""
        return str(self.parent.info.status) == "FINISHED"

    def replicate_values(self) -> pd.DataFrame:
        """One row a (trial, replicate, metric): ``trial replicate seed metric value``.

        Metrics at the end, and those before the first step as ``init/...``.
        """
        trials = zip(self.trials["run_id"], self.trials["trial"], strict=True) if len(self.trials) else []
        parts = [
            pd.read_parquet(self.store.client.download_artifacts(str(run_id), REPLICATES)).assign(trial=int(trial))
            for run_id, trial in trials
        ]
        columns = ["trial", "replicate", "seed", "metric", "value"]
        return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)

    def curve(self, run_id: str, metric: str) -> Curve:
        """One metric of one run against the step, at every epoch or probe.

        The mean over replicates, where that is finite.
        """
        table = pd.read_parquet(self.store.client.download_artifacts(run_id, LAYERS))
        rows = table[(table["layer"] == NETWORK) & (table["metric"] == metric)]
        means = rows.groupby("step")["value"].mean()
        pairs = zip(means.index.tolist(), means.tolist(), strict=True)
        return {step: value for step, value in pairs if math.isfinite(value)}


def read_study(config: Config, study: str) -> StudyRuns:
    """Reads a study; ``UsageError`` if the store holds none of that name."""
    store = open_store(config)
    parent = find_parent(store, study)
    if parent is None:
        raise UsageError.of("study.name", study, "no such study in the MLflow store; `initlab status` lists them")
    rows = [_row(run) for run in finished_children(store, parent.info.run_id)]
    trials = pd.DataFrame(rows)
    if rows:
        trials = trials.sort_values("trial").drop_duplicates("trial", keep="last").reset_index(drop=True)
    judged = pruned_children(store, parent.info.run_id)
    pruned = {int(run.data.tags["initlab.trial"]): _why_pruned(run.data.tags) for run in judged}
    return StudyRuns(store, study, parent, trials, pruned)


def _row(run: Run) -> dict[str, object]:
    row: dict[str, object] = {"run_id": run.info.run_id, "title": run.info.run_name}
    row["trial"] = int(run.data.tags["initlab.trial"])
    row |= {f"params.{key}": value for key, value in run.data.params.items()}
    return row | {f"metrics.{key}": value for key, value in run.data.metrics.items()}


def _why_pruned(tags: Mapping[str, str]) -> str:
    return tags.get(REASON) or f"not trained: {tags['initlab.verdict']}"
