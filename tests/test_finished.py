"""Whole runs into a store: as rows, and as MLflow's client writes them."""

import sqlite3

import pytest
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import IntegrityError

from pipeline.loading import load_dataset
from pipeline.pool import run_jobs
from pipeline.records import TrialRecord, Verdict
from pipeline.runner import Job
from pipeline.tracking import StudyTracker, TrialRun
from pipeline.tracking.finished import ToClient, ToDatabase, way_into

VALUES = {"weight_init.scale": 1.5, "bias_init.value": 0.0}


@pytest.fixture
def tracker(quick):
    config = quick("study.name=a", "trainer.epochs=9")
    tracker = StudyTracker(config, "a", list(VALUES), load_dataset(config))
    tracker.begin()
    return tracker


@pytest.fixture
def finished(tracker):
    """A trained trial and one that was not trained, as MLflow is to hold them."""
    config = tracker.config
    record = TrialRecord(run_jobs([Job(config, seed) for seed in (1, 2)]), Verdict(0.9, "healthy", False))
    pruned = TrialRecord([], Verdict(0.01, 'dead: it\'s "dead"', True))
    trials = [TrialRun(3, config, VALUES, record, 0.75, 100.0, 102.5), TrialRun(4, config, VALUES, pruned, None, 101.0)]
    return [tracker.prepare(trial) for trial in trials]


def rows_of(database, run_id: str) -> dict[str, list]:
    """Every row that names a run, by table, without the ids."""
    connection = sqlite3.connect(database)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    found = {}
    inputs = connection.execute("SELECT input_uuid FROM inputs WHERE destination_id = ?", [run_id])
    ids = {run_id, *(input_id for (input_id,) in inputs)}
    for table in tables:
        rows = [list(map(str, row)) for row in connection.execute(f"SELECT * FROM {table}")]
        own = [[clean(cell, ids) for cell in row] for row in rows if any(i in cell for cell in row for i in ids)]
        if own:
            found[table] = sorted(own)
    connection.close()
    return found


def clean(cell: str, ids: set[str]) -> str:
    for known in ids:
        cell = cell.replace(known, "ID")
    return cell


def test_rows_are_those_of_the_client(tracker, finished, home):
    by_client, by_rows = ToClient(tracker.store).write(finished), ToDatabase(tracker.store).write(finished)
    for theirs, mine in zip(by_client, by_rows, strict=True):
        expected = rows_of(home / "mlruns" / "mlflow.db", theirs)
        assert rows_of(home / "mlruns" / "mlflow.db", mine) == expected
    assert set(expected) == {"runs", "tags", "params", "metrics", "latest_metrics", "inputs", "input_tags"}
    assert len(rows_of(home / "mlruns" / "mlflow.db", by_rows[0])["metrics"]) > 60


def test_the_client_reads_rows_as_it_reads_its_own(tracker, finished):
    client = tracker.store.client
    for theirs, mine in zip(
        ToClient(tracker.store).write(finished), ToDatabase(tracker.store).write(finished), strict=True
    ):
        a, b = client.get_run(theirs), client.get_run(mine)
        assert b.data.to_dictionary() == a.data.to_dictionary()
        assert b.inputs.to_dictionary() == a.inputs.to_dictionary()
        for key in a.data.metrics:
            assert client.get_metric_history(mine, key) == client.get_metric_history(theirs, key)
        files = {f.path: f.file_size for f in client.list_artifacts(theirs)}
        assert {f.path: f.file_size for f in client.list_artifacts(mine)} == files
    assert set(files) == {"config.yaml"}
    found = client.search_runs([tracker.store.experiment], "metrics.`val/accuracy` >= 0 AND tags.`initlab.trial` = '3'")
    assert len(found) == 2


def test_several_runs_are_written_whole_or_not_at_all(tracker, finished):
    broken = finished[0]
    double = Metric("twice", 1.0, 5, 5)
    object.__setattr__(broken, "metrics", [double, double])
    with pytest.raises(IntegrityError):
        ToDatabase(tracker.store).write([finished[1], broken])
    runs = tracker.store.client.search_runs([tracker.store.experiment], "tags.`initlab.kind` = 'trial'")
    assert runs == []


def test_a_run_that_the_client_could_not_finish_has_failed(tracker, finished):
    object.__setattr__(finished[0], "metrics", [Metric("not % allowed", 1.0, 5, 5)])
    with pytest.raises(MlflowException):
        ToClient(tracker.store).write(finished[:1])
    (run,) = tracker.store.client.search_runs([tracker.store.experiment], "tags.`initlab.kind` = 'trial'")
    assert run.info.status == "FAILED"


def test_a_server_is_written_through_the_client(tracker):
    assert isinstance(way_into(tracker.store), ToDatabase)
    object.__setattr__(tracker.store, "uri", "http://127.0.0.1:9")
    assert isinstance(way_into(tracker.store), ToClient)
