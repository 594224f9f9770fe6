"""A study from the command to what it leaves behind."""

import re
import shutil
import warnings
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import SMALL, run_command, runs
from mlflow.tracking import MlflowClient
from sklearn.datasets import load_digits

from pipeline.config import compose
from pipeline.loading import load_dataset
from pipeline.pool import run_jobs
from pipeline.probes import PROBES, preset
from pipeline.report.plotly_js import plotly_scripts
from pipeline.runner import Job
from pipeline.seeds import confirmation_seeds, replicate_seeds
from pipeline.tracking.store import mlflow_at


@pytest.fixture(scope="module")
def client(small_study):
    return MlflowClient(f"sqlite:///{small_study}/mlruns/mlflow.db")


@pytest.fixture(scope="module")
def parent(client):
    (found,) = runs(client, "study")
    return found


@pytest.fixture(scope="module")
def children(client):
    return sorted(runs(client, "trial"), key=lambda r: int(r.data.tags["initlab.trial"]))


def test_one_parent_and_a_finished_child_a_trial(parent, children):
    assert parent.info.status == "FINISHED"
    assert [int(c.data.tags["initlab.trial"]) for c in children] == list(range(8))
    for child in children:
        assert child.info.status == "FINISHED"
        assert child.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert child.data.tags["initlab.study"] == "small"
        assert re.fullmatch("[0-9a-f]{12}", child.data.tags["initlab.config_hash"])


def test_children_are_named_after_their_init(children):
    assert children[0].info.run_name == "glorot_normal x0, bias 0"
    assert children[1].info.run_name == "glorot_normal x1, bias 0"


def test_headline_metrics_before_and_after(children):
    parts = {f"{part}/accuracy" for part in ("train", "val", "test")} | {"train/loss", "val/loss"}
    probes = {name for name, probe in PROBES.items() if probe.headline}
    headline = parts | probes | {"symmetry/broken_step", "symmetry/predicted_width", "verdict/score"}
    for child in children:
        metrics = set(child.data.metrics)
        missing = {name for name in headline - metrics if name != "signal/update_ratio"}  # infinite for zero weights
        assert not missing
        assert {f"init/{name}" for name in probes} - metrics <= {"init/signal/update_ratio"}
        assert not metrics & (set(PROBES) - probes)
        assert {"best/val/accuracy", "best/step", "spread/val/accuracy"} <= metrics
        assert 20 <= len(metrics) <= 40


def test_logged_values_are_those_of_the_same_training_done_again(small_study, children):
    """Retrained here in other company: the same numbers, to the last bit."""
    child = children[5]
    params = child.data.params
    overrides = [f"weight_init.scale={params['weight_init.scale']}", f"bias_init.value={params['bias_init.value']}"]
    config = compose([*SMALL, *overrides, f"tracking.dir={small_study}/mlruns"])
    assert params["seeds"] == ",".join(map(str, replicate_seeds(0, 2)))
    records = [run_jobs([Job(config, seed)])[0] for seed in replicate_seeds(0, 2)]
    for name, value in child.data.metrics.items():
        if name in records[0].final:
            assert value == np.mean([r.final[name] for r in records]), name
        if name.startswith("init/"):
            assert value == np.mean([r.init[name.removeprefix("init/")] for r in records]), name
    assert child.data.metrics["spread/val/accuracy"] == np.std([r.final["val/accuracy"] for r in records], ddof=1)


def test_histories_have_every_epoch(client, children):
    history = client.get_metric_history(children[3].info.run_id, "val/accuracy")
    assert [m.step for m in history] == [0, 16, 32]
    assert children[3].data.metrics["val/accuracy"] == history[-1].value
    assert children[3].data.metrics["init/val/accuracy"] == history[0].value


def test_artifacts(client, small_study, children):
    run = children[2].info.run_id
    assert {f.path for f in client.list_artifacts(run)} == {"config.yaml", "layers.parquet", "replicates.parquet"}
    folder = Path(client.download_artifacts(run, ""))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    assert str(config["weight_init"]["scale"]) == children[2].data.params["weight_init.scale"]
    table = pd.read_parquet(folder / "layers.parquet")
    assert list(table.columns) == ["replicate", "seed", "step", "layer", "metric", "value"]
    assert set(table["layer"]) == {"layers.1", "layers.3", "layers.5", "(network)"}  # 5: the output layer
    last = table[(table.step == table.step.max()) & (table.metric == "saturation/flat_fraction")].groupby("layer")
    mean = last.value.mean()
    logged = children[2].data.metrics["saturation/flat_fraction"]
    assert mean["(network)"] == pytest.approx(logged, abs=1e-12)
    assert (mean["layers.1"] + mean["layers.3"]) / 2 == pytest.approx(logged, abs=1e-12)
    losses = {"train/loss", "train/accuracy", "val/loss", "val/accuracy"}
    assert set(table["metric"]) == set(preset("standard")) | losses
    assert set(table[table.metric.isin(losses)]["layer"]) == {"(network)"}
    assert small_study in folder.parents


def test_replicates_are_stored_one_by_one(client, children):
    table = pd.read_parquet(client.download_artifacts(children[2].info.run_id, "replicates.parquet"))
    assert list(table.columns) == ["replicate", "seed", "metric", "value"]
    assert table.groupby("replicate")["seed"].unique().map(list).tolist() == [[s] for s in replicate_seeds(0, 2)]
    metrics = children[2].data.metrics
    for name in ("test/accuracy", "init/val/loss", "redundancy/effective_rank", "symmetry/broken_step"):
        assert table[table.metric == name]["value"].mean() == pytest.approx(metrics[name], abs=1e-12)
    assert set(table[table.metric == "health/diverged"]["value"]) == {0.0}


def test_the_dataset_is_logged(children):
    (used,) = children[0].inputs.dataset_inputs
    assert used.dataset.name == "digits"
    assert children[0].data.tags["initlab.data_digest"].startswith(used.dataset.digest)


def test_no_winner_is_confirmed_where_none_is_asked_for(home):
    done = run_command("sweep", *SMALL, "search.n_trials=2", "search.confirm=0", cwd=home)
    assert done.returncode == 0, done.stderr
    assert not re.search("confirming|winner|registered", done.stdout)
    (found,) = runs(MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db"), "study")
    assert found.info.status == "FINISHED"
    assert "initlab.best_trial" not in found.data.tags


def test_the_winner_is_confirmed_on_fresh_seeds(small_study, parent, children):
    best = max(children, key=lambda c: c.data.metrics["val/accuracy"])
    assert parent.data.tags["initlab.best_trial"] == best.data.tags["initlab.trial"]
    params = best.data.params
    overrides = [f"weight_init.scale={params['weight_init.scale']}", f"bias_init.value={params['bias_init.value']}"]
    config = compose([*SMALL, *overrides])
    assert not set(confirmation_seeds(0, 2)) & set(replicate_seeds(0, 5000))
    records = run_jobs([Job(config, seed) for seed in confirmation_seeds(0, 2)])
    assert parent.data.metrics["best/test/accuracy"] == np.mean([r.final["test/accuracy"] for r in records])


def test_the_registered_model_predicts_from_raw_inputs(small_study, parent):
    uri = f"sqlite:///{small_study}/mlruns/mlflow.db"
    with mlflow_at(uri), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own imports
        model = mlflow.pyfunc.load_model(parent.data.tags["initlab.model"])
    assert model.metadata.signature is not None
    x, y = load_digits(return_X_y=True)
    probabilities = np.asarray(model.predict(x.astype(np.float32)))
    assert probabilities.shape == (1797, 10)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    data = load_dataset(compose(SMALL))
    raw = (data.x_test * data.std + data.mean).numpy()
    accuracy = float((np.asarray(model.predict(raw)).argmax(1) == data.y_test.numpy()).mean())
    assert accuracy == pytest.approx(parent.data.metrics["best/test/accuracy"], abs=0.1)
    assert float((probabilities.argmax(1) == y).mean()) > 0.7
    # Nothing of this package is needed to load it, and no code runs from the file.
    names = {p.suffix for p in Path(small_study).rglob("*") if "models" in p.parts or "model" in p.parts}
    assert ".pt2" in names
    assert not {".pkl", ".pth", ".pickle"} & names
    assert torch.is_tensor(data.mean)


def test_what_the_user_reads(small_study, parent, children):
    lines = (small_study / "stdout.txt").read_text().splitlines()
    assert lines[-1] == "mlruns/reports/small/report.html"
    assert (small_study / lines[-1]).is_file()
    assert lines[-3] == "browse the runs: make ui"
    table = lines[lines.index(next(li for li in lines if li.startswith("init "))) :]
    assert table[0].split() == ["init", "val", "accuracy", "std", "effective", "width", "flat", "fraction", "trial"]
    ranked = sorted(children, key=lambda c: -c.data.metrics["val/accuracy"])
    assert table[1].startswith(ranked[0].info.run_name)
    assert f"{ranked[0].data.metrics['val/accuracy']:.3f}" in table[1]
    assert table[6] == "... and the worst of 8:"
    assert table[7].startswith(ranked[-1].info.run_name)
    accuracy = parent.data.metrics["best/test/accuracy"]
    assert any(li.startswith(f"winner on 2 fresh seeds: test accuracy {accuracy:.3f}") for li in lines)
    assert (small_study / "stderr.txt").read_text() == ""  # no progress bar off a terminal, no warnings


def test_the_report_is_one_self_contained_file(client, small_study, parent):
    html = (small_study / "mlruns/reports/small/report.html").read_text()
    assert len(re.findall(r'class="plot"', html)) == 4
    own = html.replace(plotly_scripts()[0], "")
    assert len(own) < len(html) - 4_000_000
    assert len(own) < 1_000_000
    assert not re.findall(r'src="(?!data:)|url\(|@import', own)  # opens offline
    links = set(re.findall(r'href="([^"#][^"]*)"', own))
    assert links
    assert all(link.startswith("http://127.0.0.1:5000/#/experiments/") for link in links)
    assert "report.html" in {f.path for f in client.list_artifacts(parent.info.run_id)}


def test_diverged_trials_are_last_and_show_no_old_values(home):
    arguments = ["optimizer.lr=1e20", "model.activation=relu", "search.objective=val/loss"]
    done = run_command("sweep", *SMALL, *arguments, cwd=home)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    wild = [r for r in runs(client, "trial") if r.data.metrics["health/diverged_replicates"] == 2]
    assert wild
    for run in wild:
        assert "val/loss" not in run.data.metrics
        assert "redundancy/effective_rank" not in run.data.metrics
        assert run.data.metrics["health/nonfinite_values"] > 0


def test_the_environment_can_name_the_store(tmp_path, template_store):
    shutil.copy(template_store, tmp_path / "elsewhere.db")
    uri = f"sqlite:///{tmp_path}/elsewhere.db"
    done = run_command("train", "trainer.epochs=1", "model.width=4", cwd=tmp_path, MLFLOW_TRACKING_URI=uri)
    assert done.returncode == 0, done.stderr
    assert len(runs(MlflowClient(uri), "train")) == 1
    assert not (tmp_path / "mlruns" / "mlflow.db").exists()
