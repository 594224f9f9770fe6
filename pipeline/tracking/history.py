"""Reads a study back from MLflow, for reports: what is shown is what was stored."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from mlflow.entities import Run

from pipeline.config import Config
from pipeline.errors import UsageError
from pipeline.tracking.artifacts import folder_of
from pipeline.tracking.confirmation import Confirmation
from pipeline.tracking.entities import LAYERS, REPLICATES
from pipeline.tracking.prepared import REASON
from pipeline.tracking.reading import children_of
from pipeline.tracking.runs import ended, find_parent, pruned, trial_numbers
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.subject import curve_of

__all__ = ["StudyRuns", "read_study"]


@dataclass(frozen=True)
class StudyRuns:
    """The stored runs of a study.

    Attributes:
        trials: one row a finished child: ``run_id title trial artifacts``, every param as
            ``params.KEY`` and every metric's last value as ``metrics.KEY``.
        pruned: ``{trial: why}`` of the trials that were not trained to their end.
        states: ``run_id trial state reason`` of all trials: ``finished``, ``pruned``, ``failed``,
            ``killed`` or ``running``, and of the pruned ones why.
    """

    store: Store
    study: str
    parent: Run
    trials: pd.DataFrame
    pruned: dict[int, str]
    states: pd.DataFrame

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
        path = self.file("config.yaml")
        assert path is not None  # written as the study begins
        tree: dict[str, Any] = yaml.safe_load(path.read_text())
        return tree

    def config_of(self, run_id: str) -> dict[str, Any]:
        """The resolved configuration of one trial."""
        tree: dict[str, Any] = yaml.safe_load(self._artifact(run_id, "config.yaml").read_text())
        return tree

    @property
    def finished(self) -> bool:
        """Whether the process that ran it came to its end."""
        return str(self.parent.info.status) == "FINISHED"

    def replicate_values(self, run_ids: Sequence[str] | None = None) -> pd.DataFrame:
        """One row a (trial, replicate, metric): ``trial replicate seed metric value``.

        Metrics at the end, and those before the first step as ``init/...``.

        Args:
            run_ids: of the trials that are read; None: all.
        """
        columns = ["trial", "replicate", "seed", "metric", "value"]
        parts = []
        for run_id, trial in zip(self.trials.get("run_id", ()), self.trials.get("trial", ()), strict=True):
            if run_ids is not None and run_id not in run_ids:
                continue
            table = pq.read_table(self._artifact(run_id, REPLICATES))
            parts.append(table.append_column("trial", pa.array([trial] * len(table), pa.int64())))
        return pa.concat_tables(parts).to_pandas()[columns] if parts else pd.DataFrame(columns=columns)

    def confirmation_values(self) -> pd.DataFrame | None:
        """The winner's networks on fresh seeds: ``trial seed metric value``; None if there are none on record."""
        confirmed, path = self.confirmation, self.file(REPLICATES)
        if confirmed is None or path is None:
            return None
        return pd.read_parquet(path)[["seed", "metric", "value"]].assign(trial=confirmed.trial)

    def _artifact(self, run_id: str, name: str) -> Path:
        """The file of a run: where it lies if that is this machine, else a copy."""
        folder = folder_of(self._places[run_id])
        if folder is not None:
            return folder / name
        return Path(self.store.client.download_artifacts(run_id, name))

    @cached_property
    def _places(self) -> dict[str, str]:
        """Where the artifacts of each run are."""
        return dict(zip(self.trials["run_id"], self.trials["artifacts"], strict=True))

    def curve(self, run_id: str, metric: str) -> pd.DataFrame:
        """One metric of one run at every epoch or probe: ``step mean low high``.

        Over replicates, where they are finite: their mean, and one standard deviation below
        and above it.
        """
        return curve_of(self.layer_values(run_id), metric)

    def layer_values(self, run_id: str) -> pd.DataFrame:
        """All that was measured on the way: ``replicate seed step layer metric value``.

        ``layer`` is ``NETWORK`` for what is of the whole network.
        """
        if run_id not in self._layers:
            self._layers[run_id] = pd.read_parquet(self._artifact(run_id, LAYERS))
        return self._layers[run_id]

    @cached_property
    def _layers(self) -> dict[str, pd.DataFrame]:
        return {}

    def with_parent_as_it_is(self) -> "StudyRuns":
        """The same trials, with the study's own run read again."""
        return replace(self, parent=self.store.client.get_run(self.parent.info.run_id))

    def file(self, name: str) -> Path | None:
        """A file of the study's own run, None if it has none of that name.

        Where it lies if that is this machine: MLflow would copy it, and keep a thread for that.
        """
        folder = folder_of(self.parent.info.artifact_uri)
        if folder is not None:
            return path if (path := folder / name).is_file() else None
        client, run_id = self.store.client, self.parent.info.run_id
        if name not in {entry.path for entry in client.list_artifacts(run_id)}:
            return None
        return Path(client.download_artifacts(run_id, name))


def read_study(config: Config, study: str) -> StudyRuns:
    """Reads a study; ``UsageError`` if the store holds none of that name."""
    store = open_store(config, make=False)
    parent = find_parent(store, study)
    if parent is None:
        raise UsageError.of("study.name", study, "no such study in the MLflow store; `initlab status` lists them")
    children = children_of(store, parent.info.run_id)
    states = _states(children)
    stopped = states[states["state"] == "pruned"]
    reasons = dict(zip(stopped["trial"], stopped["reason"], strict=True))
    return StudyRuns(store, study, parent, _trials(children[ended(children)]), reasons, states)


def _states(children: pd.DataFrame) -> pd.DataFrame:
    """How each trial ended; of several runs of one trial the latest."""
    found = children[["run_id"]].assign(trial=trial_numbers(children), state=children["status"].str.lower(), reason="")
    stopped = pruned(children)
    found.loc[stopped, "state"] = "pruned"
    if stopped.any():
        found.loc[stopped, "reason"] = children[stopped].apply(_why_pruned, axis=1)
    return found.drop_duplicates("trial", keep="last").sort_values("trial", ignore_index=True)


def _trials(finished: pd.DataFrame) -> pd.DataFrame:
    """One row a trial, by number; of several runs of one trial the latest."""
    if finished.empty:
        return pd.DataFrame()
    measured = [name for name in finished if str(name).startswith(("params.", "metrics."))]
    trials = finished[["run_id", "title", "artifacts", *measured]].assign(trial=trial_numbers(finished))
    latest = trials.drop_duplicates("trial", keep="last").sort_values("trial", ignore_index=True)
    return latest.dropna(axis=1, how="all")


def _why_pruned(run: "pd.Series[Any]") -> str:
    reason = run.get(f"tags.{REASON}")
    return reason if isinstance(reason, str) else f"not trained: {run['tags.initlab.verdict']}"
