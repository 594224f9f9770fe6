"""The commands on ``model=cnn``, from the command line to what they leave behind."""

import os

import mlflow
import pytest
import torch
from mlflow.tracking import MlflowClient

from pipeline.cli import main
from pipeline.config import compose
from pipeline.search import ends_of
from pipeline.tracking.store import mlflow_at

CNN = ["model=cnn", "model.width=2", "trainer.epochs=1"]
TOO_DEEP = "at most 3, as often as the dataset's images of 8 x 8 can be halved"


def test_a_cnn_trains_and_is_measured(home, capsys):
    assert main(["train", *CNN, "model.dropout=0.2", "probes=full"]) == 0
    text = capsys.readouterr().out
    for metric in ("redundancy/column_copies", "signal/jacobian_mean", "symmetry/broken_step", "test/accuracy"):
        assert metric in text
    assert "predicted_width" not in text


def test_a_study_over_depth_and_width_of_a_cnn(home, capsys):
    space = ["+search.space.model.depth={low: 1, high: 3, int: true}", "+search.space.model.width.choices=[1,2]"]
    study = ["search.n_trials=3", "search.replicates=1", "search.confirm=1", "study.name=small"]
    assert main(["sweep", *CNN, *study, *space]) == 0
    assert (home / "mlruns" / "reports" / "small" / "report.html").is_file()
    assert "models:/initlab-small/1" in capsys.readouterr().out
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("initlab").experiment_id
    trials = client.search_runs([experiment], "tags.`initlab.kind` = 'trial'")
    assert len(trials) == 3
    assert all({"model.depth", "model.convs", "model.pooling"} <= set(trial.data.params) for trial in trials)
    assert "MLFLOW_TRACKING_URI" not in os.environ  # a later study of this process has its own store
    with mlflow_at(f"sqlite:///{home}/mlruns/mlflow.db"):
        program = mlflow.pytorch.load_model("models:/initlab-small/1")
    shares = program(torch.rand(5, 64) * 16)
    torch.testing.assert_close(shares.sum(1), torch.ones(5))


def test_a_study_that_would_get_too_deep_is_not_begun(home, capsys):
    axis = "+search.space.model.depth={low: 1, high: 4, int: true}"
    assert [c.model.depth for c in ends_of(compose([*CNN, axis])) if c.weight_init.scale == 1][-2:] == [1, 4]
    assert main(["sweep", *CNN, axis]) == 2
    assert f"model.depth=4: must be {TOO_DEEP}" in capsys.readouterr().err
    assert not (home / "mlruns" / "optuna").exists()


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", *CNN, "dataset=wine"], "model=cnn: needs images"),
        (["train", *CNN, "model.depth=4"], TOO_DEEP),
        (["answers", *CNN, "report.questions=[q4]"], f"model.depth=10: must be {TOO_DEEP}"),
        (["symmetry", *CNN], "symmetry is settled for MLPs only"),
    ],
)
def test_what_a_cnn_cannot_do_is_said_in_one_line(command, message, home, capsys):
    assert main(command) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_diagnose_bounds_the_distinct_channels(home, capsys):
    assert main(["diagnose", "model=cnn", "weight_init=tied", "model.activation=tanh"]) == 0
    text = capsys.readouterr().out
    assert "one unit a layer for ever" in text
    head = next(line for line in text.splitlines() if line.startswith("layer"))
    assert head.endswith("distinct for ever, at most")
