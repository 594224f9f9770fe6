"""The table of a study's runs: read from the database as MLflow's client would tell it."""

import shutil

import pandas as pd
import pytest
from conftest import SMALL

from pipeline.config import compose
from pipeline.search import Search
from pipeline.tracking import Outcome, StudyTracker, compare, read_study
from pipeline.tracking.reading import _rows, _runs, children_of
from pipeline.tracking.runs import find_parent
from pipeline.tracking.store import open_store


def nobody(owner):
    return False


PARTS = ["params", "metrics", "tags"]


@pytest.fixture(scope="module")
def store(small_study):
    return open_store(compose([f"tracking.dir={small_study}/mlruns"]))


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sort_values("run_id", ignore_index=True)[sorted(frame.columns)]


def test_rows_are_what_the_client_tells(store):
    parent = find_parent(store, "small").info.run_id
    mine, theirs = ordered(_rows(store, parent, PARTS)), ordered(_runs(store, parent, PARTS))
    assert len(mine) == 8
    assert {"params.weight_init.scale", "metrics.val/accuracy", "tags.initlab.verdict"} <= set(mine)
    pd.testing.assert_frame_equal(mine, theirs, check_dtype=False)


def test_a_part_can_be_asked_for_alone(store):
    parent = find_parent(store, "small").info.run_id
    table = children_of(store, parent, ["tags"])
    assert set(table["tags.initlab.trial"]) == set("01234567")
    assert not [name for name in table if name.startswith(("params", "metrics"))]
    assert list(table["started"]) == sorted(table["started"])


@pytest.mark.parametrize("read", [_rows, _runs])
def test_a_study_without_runs_has_an_empty_table(store, read):
    assert read(store, "no such run", PARTS).empty
    assert children_of(store, "no such run").empty


def test_deleted_runs_are_gone(small_study, tmp_path):
    shutil.copytree(small_study, tmp_path / "copy")
    config = compose([f"tracking.dir={tmp_path}/copy/mlruns"])
    store = open_store(config)
    parent = find_parent(store, "small").info.run_id
    gone = children_of(store, parent)["run_id"][2]
    store.client.delete_run(gone)
    assert len(ordered(_rows(store, parent, PARTS))) == len(_runs(store, parent, PARTS)) == 7
    assert gone not in set(read_study(config, "small").trials["run_id"])


def test_of_two_runs_of_a_trial_the_latest_counts(small_study, tmp_path):
    shutil.copytree(small_study, tmp_path / "copy")
    config = compose([f"tracking.dir={tmp_path}/copy/mlruns"])
    store = open_store(config)
    before = read_study(config, "small").trials
    run = store.client.get_run(before["run_id"][3])
    again = store.client.create_run(store.experiment, start_time=run.info.start_time + 10**9, tags=run.data.tags)
    store.client.log_metric(again.info.run_id, "val/accuracy", 0.125)
    store.client.set_terminated(again.info.run_id, "FINISHED")
    after = read_study(config, "small").trials
    assert list(after["trial"]) == list(before["trial"]) == list(range(8))
    assert after["run_id"][3] == again.info.run_id
    assert after["metrics.val/accuracy"][3] == 0.125


def test_replicates_are_read_where_they_lie(small_study):
    runs = read_study(compose([f"tracking.dir={small_study}/mlruns"]), "small")
    values = runs.replicate_values()
    assert list(values.columns) == ["trial", "replicate", "seed", "metric", "value"]
    assert set(values["trial"]) == set(range(8))
    means = values[values["metric"] == "test/accuracy"].groupby("trial")["value"].mean()
    assert means.tolist() == pytest.approx(runs.trials["metrics.test/accuracy"].tolist(), abs=1e-12)


def test_mlflow_holds_what_the_search_holds(small_study, tmp_path, digits):
    shutil.copytree(small_study, tmp_path / "copy")
    config = compose([*SMALL, f"tracking.dir={tmp_path}/copy/mlruns"])
    search = Search(config, digits.digest)
    held = {trial.number: Outcome(False, trial.value) for trial in search.finished}
    search.close()
    assert sorted(held) == list(range(8))
    assert not compare(config, "small", lambda: held, nobody)
    StudyTracker(config, "another", [], digits).begin()
    assert compare(config, "another", lambda: held, nobody).missing == tuple(range(8))
    assert read_study(config, "another").trials.empty
