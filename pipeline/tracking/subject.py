"""What a person names to look at: a study by its name, or any run of the lab by its id."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.config import Config, flatten
from pipeline.errors import UsageError
from pipeline.tracking.entities import LAYERS, NETWORK, REPLICATES
from pipeline.tracking.place import ui_address
from pipeline.tracking.reading import children_of
from pipeline.tracking.runs import ended, find_parent
from pipeline.tracking.store import Store, open_store

__all__ = ["Subject", "address_of", "find_subject"]


@dataclass(frozen=True)
class Subject:
    """A run whose networks are compared: one of a training, a trial, or the best trial of a study.

    Attributes:
        name: as people know it.
        run_id: whose networks these are; of a study with a confirmed winner the study's own run.
        config: ``{dotted key: value}`` of the configuration behind the networks.
        what: which networks, in words.
        experiment: id of the experiment that holds it.
        replicates: ``seed metric value``.
    """

    name: str
    run_id: str
    experiment: str
    config: Mapping[str, Any]
    what: str
    replicates: pd.DataFrame
    layers: pd.DataFrame

    def values(self, metric: str) -> "pd.Series[float]":
        """One metric by seed, without values that aren't finite; the accuracy of a network that diverged is 0."""
        rows = self.replicates[self.replicates["metric"] == metric]
        found = rows.set_index("seed")["value"].astype(float)
        if metric.endswith("/accuracy"):
            found = found.fillna(0.0)
        finite: pd.Series[float] = found[np.isfinite(found)]
        return finite

    @property
    def networks(self) -> int:
        """How many there are."""
        return self.replicates["seed"].nunique()

    @property
    def diverged(self) -> int:
        """How many of them diverged."""
        return int(self.values("health/diverged").sum())

    def curve(self, metric: str) -> pd.DataFrame:
        """``step mean low high``: over replicates the mean, and one standard deviation to either side."""
        return curve_of(self.layers, metric)


def curve_of(layers: pd.DataFrame, metric: str) -> pd.DataFrame:
    """A curve of the whole network out of the rows of ``layers.parquet``."""
    own = layers[(layers["layer"] == NETWORK) & (layers["metric"] == metric) & np.isfinite(layers["value"])]
    found = own.groupby("step")["value"].agg(["mean", "std"]).reset_index()
    std = found["std"].fillna(0.0)
    curve: pd.DataFrame = found[["step", "mean"]].assign(low=found["mean"] - std, high=found["mean"] + std)
    return curve


def address_of(config: Config, text: str) -> str:
    """The address in the MLflow UI of a study by name or of a run by id."""
    run = _run(open_store(config, make=False), text)
    return f"{ui_address(config)}/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"


def find_subject(config: Config, text: str) -> Subject:
    """What a name or an id stands for.

    Raises:
        UsageError: there is none, or it has no trained networks.
    """
    store = open_store(config, make=False)
    run = _run(store, text)
    kind = run.data.tags.get("initlab.kind")
    if kind == "study":
        return _of_study(store, run)
    if kind not in ("trial", "train"):
        raise UsageError.of("run", text, "is no run of the lab: it has no tag initlab.kind")
    return _subject(store, run, run, "replicates" if kind == "trial" else "one network")


def _run(store: Store, text: str) -> Run:
    run = find_parent(store, text)
    if run is not None:
        return run
    try:
        return store.client.get_run(text)
    except MlflowException:
        allowed = "no study of this name and no run of this id in the MLflow store; `initlab status` lists studies"
        raise UsageError.of("run", text, allowed) from None


def _of_study(store: Store, parent: Run) -> Subject:
    """Its winner on fresh seeds, or without that the replicates of its best trial."""
    confirmed = parent.data.tags.get("initlab.best_trial")
    children = children_of(store, parent.info.run_id, ["metrics", "tags"])
    finished = children[ended(children)]
    if finished.empty:
        raise UsageError.of("run", parent.info.run_name, "the study has no trial that was trained to its end")
    if confirmed is not None:
        best = finished[finished["tags.initlab.trial"] == confirmed].iloc[-1]
    else:
        values = finished["metrics.search/objective"].to_numpy(float)
        lower = parent.data.params["search.objective"] == "val/loss"
        best = finished.iloc[int(np.nanargmin(values) if lower else np.nanargmax(values))]
    trial = store.client.get_run(str(best["run_id"]))
    fresh = REPLICATES in {entry.path for entry in store.client.list_artifacts(parent.info.run_id)}
    what = "the winner on fresh seeds" if fresh else "replicates of the best trial"
    return _subject(store, parent if fresh else trial, trial, what, name=str(parent.info.run_name))


def _subject(store: Store, networks: Run, trial: Run, what: str, name: str = "") -> Subject:
    def file(run: Run, path: str) -> Path:
        try:
            return Path(store.client.download_artifacts(run.info.run_id, path))
        except (MlflowException, OSError):
            raise UsageError.of("run", run.info.run_id, "has no trained networks on record") from None

    config = yaml.safe_load(file(trial, "config.yaml").read_text())
    return Subject(
        name=name or str(trial.info.run_name),
        run_id=networks.info.run_id,
        experiment=networks.info.experiment_id,
        config=flatten(config),
        what=what,
        replicates=pd.read_parquet(file(networks, REPLICATES))[["seed", "metric", "value"]],
        layers=pd.read_parquet(file(trial, LAYERS)),
    )
