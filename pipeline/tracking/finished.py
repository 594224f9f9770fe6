"""A run that has ended, as a whole, and the two ways into an MLflow store.

MLflow's client writes one run in nine transactions, each of which waits for the disk, and
through its object mapper: 50 ms of a core for a trial. A run that has ended when it is first
written needs no more than rows, so into a database whole runs go several to a transaction. A
server is written through the client. ``tests/test_finished.py`` holds the one to the other.
"""

import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol

from mlflow.entities import DatasetInput, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.dbmodels import models
from mlflow.utils.uri import append_to_uri_path
from sqlalchemy import Connection, Engine, Select, insert, select

from pipeline.tracking.artifacts import keep, send
from pipeline.tracking.database import engine_of, is_database
from pipeline.tracking.faults import is_transient
from pipeline.tracking.store import Store

__all__ = ["FinishedRun", "ToClient", "ToDatabase", "Way", "log_dataset", "way_into"]

Rows = dict[Any, list[dict[str, Any]]]
"""table -> its new rows"""

# Seconds for which a run waits for other writers of a database before it is kept and written later.
WRITING_PATIENCE_S = 5.0


@dataclass(frozen=True)
class FinishedRun:
    """All that MLflow is to hold of a run.

    Attributes:
        status: FINISHED or KILLED. started, ended: seconds since the epoch.
        artifacts: ``{file name: content}``.
        run_id: what MLflow is to call it, where MLflow lets one choose.
    """

    name: str
    status: str
    started: float
    ended: float
    tags: Mapping[str, str]
    params: Sequence[Param]
    metrics: Sequence[Metric]
    inputs: DatasetInput
    artifacts: Mapping[str, bytes]
    run_id: str = field(default_factory=lambda: uuid.uuid4().hex)


class Way(Protocol):
    """Writes runs into a store.

    Attributes:
        at_once: how many of them a call should be given.
    """

    at_once: ClassVar[int]

    def write(self, runs: Sequence[FinishedRun]) -> list[str]:
        """Writes all, or raises; returns their ids."""


def way_into(store: Store) -> Way:
    """The fastest way into a store."""
    return ToDatabase(store) if is_database(store.uri) else ToClient(store)


def log_dataset(store: Store, run_id: str, inputs: DatasetInput) -> None:
    """Names the dataset of a run.

    MLflow looks whether it knows the dataset and adds it if not. Of two processes that do
    so at once one is refused; by then the dataset is known, so it asks again.
    """
    try:
        store.client.log_inputs(run_id, datasets=[inputs])
    except MlflowException:
        store.client.log_inputs(run_id, datasets=[inputs])


@dataclass(frozen=True)
class ToClient:
    """Through MLflow's client, one run after the other."""

    at_once: ClassVar[int] = 1

    store: Store

    def write(self, runs: Sequence[FinishedRun]) -> list[str]:
        return [self._write(run) for run in runs]

    def _write(self, run: FinishedRun) -> str:
        client = self.store.client
        start = _milliseconds(run.started)
        created = client.create_run(self.store.experiment, start_time=start, tags=dict(run.tags), run_name=run.name)
        run_id: str = created.info.run_id
        try:
            log_dataset(self.store, run_id, run.inputs)
            for i in range(0, max(len(run.metrics), 1), 1000):
                client.log_batch(run_id, run.metrics[i : i + 1000], run.params if i == 0 else [])
            send(client, created, run.artifacts)
            client.set_terminated(run_id, run.status, _milliseconds(run.ended))
        except BaseException as error:
            if not is_transient(error):  # else it is taken away before it is written again
                with suppress(MlflowException):
                    client.set_terminated(run_id, "FAILED")
            raise
        return run_id


@dataclass(frozen=True)
class ToDatabase:
    """Rows of all runs in one transaction: they are there whole, or not at all."""

    at_once: ClassVar[int] = 64

    store: Store

    @cached_property
    def _engine(self) -> Engine:
        return engine_of(self.store.uri, WRITING_PATIENCE_S)

    @cached_property
    def _artifacts(self) -> str:
        """Where the experiment's artifacts are."""
        return str(self.store.client.get_experiment(self.store.experiment).artifact_location)

    def write(self, runs: Sequence[FinishedRun]) -> list[str]:
        for run in runs:
            keep(self._artifacts_of(run.run_id), run.artifacts)
        with self._engine.begin() as connection:
            rows: Rows = {}
            for run in runs:
                self._add_rows(rows, run.run_id, run, self._dataset(connection, run.inputs))
            for table, entries in rows.items():
                connection.execute(insert(table.__table__), entries)
        return [run.run_id for run in runs]

    def _artifacts_of(self, run_id: str) -> str:
        return str(append_to_uri_path(self._artifacts, run_id, "artifacts"))  # type: ignore[no-untyped-call]

    @cached_property
    def _datasets(self) -> dict[tuple[str, str], str]:
        return {}

    def _dataset(self, connection: Connection, inputs: DatasetInput) -> str:
        """MLflow's id of a dataset that a run of the experiment, the study's parent, has named."""
        key = (inputs.dataset.name, inputs.dataset.digest)
        if key not in self._datasets:
            self._datasets[key] = self._find_dataset(connection, inputs)
        return self._datasets[key]

    def _find_dataset(self, connection: Connection, inputs: DatasetInput) -> str:
        table = models.SqlDataset
        wanted: Select[tuple[str]] = select(table.dataset_uuid).where(
            table.experiment_id == int(self.store.experiment),
            table.name == inputs.dataset.name,
            table.digest == inputs.dataset.digest,
        )
        return str(connection.execute(wanted).scalar_one())

    def _add_rows(self, rows: Rows, run_id: str, run: FinishedRun, dataset: str) -> None:
        input_id = uuid.uuid4().hex
        latest: dict[str, Metric] = {}
        for metric in run.metrics:
            if metric.key not in latest or metric.step >= latest[metric.key].step:
                latest[metric.key] = metric
        added: Rows = {
            models.SqlRun: [self._run(run_id, run)],
            models.SqlTag: [
                {"run_uuid": run_id, "key": k, "value": v} for k, v in {"mlflow.runName": run.name, **run.tags}.items()
            ],
            models.SqlParam: [{"run_uuid": run_id, "key": p.key, "value": p.value} for p in run.params],
            models.SqlMetric: [_metric(run_id, metric) for metric in run.metrics],
            models.SqlLatestMetric: [_metric(run_id, metric) for metric in latest.values()],
            models.SqlInput: [
                {
                    "input_uuid": input_id,
                    "source_type": "DATASET",
                    "source_id": dataset,
                    "destination_type": "RUN",
                    "destination_id": run_id,
                }
            ],
            models.SqlInputTag: [{"input_uuid": input_id, "name": t.key, "value": t.value} for t in run.inputs.tags],
        }
        for table, entries in added.items():
            if entries:
                rows.setdefault(table, []).extend(entries)

    def _run(self, run_id: str, run: FinishedRun) -> dict[str, Any]:
        return {
            "run_uuid": run_id,
            "name": run.name,
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "user_id": "unknown",
            "status": run.status,
            "start_time": _milliseconds(run.started),
            "end_time": _milliseconds(run.ended),
            "source_version": "",
            "lifecycle_stage": "active",
            "artifact_uri": self._artifacts_of(run_id),
            "experiment_id": int(self.store.experiment),
        }


def _metric(run_id: str, metric: Metric) -> dict[str, Any]:
    return {
        "run_uuid": run_id,
        "key": metric.key,
        "value": metric.value,
        "timestamp": metric.timestamp,
        "step": metric.step,
        "is_nan": False,
    }


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
