import json
import re
import socket

import pytest
from conftest import run_command
from mlflow.tracking import MlflowClient

from pipeline.cli import VERBS, main

TRAIN = ["train", "trainer.epochs=2", "model.width=8"]


def test_help_lists_the_verbs(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(verb in text for verb in VERBS)
    assert main([]) == 0


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help_with_groups_and_keys(verb, capsys):
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"usage: initlab {verb}" in text
    for expected in ["sigma_w2: null"] if verb == "theory" else ["he_normal", "n_trials: "]:
        assert expected in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["fly"], "'fly' is no verb"),
        (["train", "--fast"], "--fast: not a flag of train"),
        (["train", "weight_init=foo"], "weight_init=foo: must be one of column_tied, constant, delta_orthogonal"),
        (["train", "model.dropout=1.0"], "model.dropout=1.0: must be less than 1"),
        (["symmetry", "model.dropout=-0.1"], "model.dropout=-0.1: must be greater than or equal to 0"),
        (["train", "weight_init.scale=-1"], "weight_init.scale=-1: must be greater than or equal to 0"),
        (["train", "model.widht=1"], "model.widht=1: unknown key"),
        (["sweep", "search.replicates=0"], "search.replicates=0"),
        (["train", "dataset.path=none.npz"], "dataset.path=none.npz: no such file"),
        (["train", "trainer.batch_size=2000"], "trainer.batch_size=2000: must be at most the 1077 training rows"),
        (["train", "dataset.val_fraction=0.5", "dataset.test_fraction=0.5"], "nothing is left to train on"),
        (["train", "dataset.train_limit=3"], "dataset.train_limit=3"),
        (["train", "tracking.uri=nowhere"], "tracking.uri=nowhere: must be one of sqlite://"),
        (
            ["train", "model=custom", "allow_custom_code=true", "model._target_=torch.nn.Linear"],
            "model._target_=torch.nn.Linear: can't be built",
        ),
        (
            ["train", "model=custom", "allow_custom_code=true", "model._target_=torch.nn.Tanh"],
            "has no parameters to train",
        ),
        (
            ["train", "model=custom", "allow_custom_code=true", "model._target_=builtins.dict"],
            "makes a dict, not a torch.nn.Module",
        ),
        (
            [
                "train",
                "model=custom",
                "allow_custom_code=true",
                "model._target_=torch.nn.Linear",
                "+model.in_features=3",
                "+model.out_features=1",
            ],
            "fails on inputs (64,)",
        ),
        (
            [
                "train",
                "model=custom",
                "allow_custom_code=true",
                "model._target_=torch.nn.Linear",
                "+model.in_features=64",
                "+model.out_features=1",
            ],
            "must give logits (rows, 10), gives (2, 1)",
        ),
        (["sweep", "~search.space.weight_init", "~search.space.bias_init"], "search.space"),
        (["report", "study.name=none"], "tracking.experiment=initlab: no such experiment in the MLflow store"),
    ],
)
def test_mistakes_end_with_2_and_one_line(arguments, expected, home, capsys):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("initlab: ")
    assert expected in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not list(home.rglob("*.journal"))
    assert not list(home.rglob("report.html"))


def test_a_taken_port_is_said(home, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["ui", f"tracking.port={port}"]) == 1
    assert f"port {port} can't be had" in capsys.readouterr().err


def test_a_file_that_is_no_database_is_said_before_training(home, capsys):
    (home / "bad.db").write_text("this is no database" * 100)
    assert main(["train", f"tracking.uri=sqlite:///{home}/bad.db"]) == 1
    captured = capsys.readouterr()
    assert "can't be opened" in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_a_deleted_experiment_is_said_before_training(home, capsys):
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    client.delete_experiment(client.create_experiment("gone"))
    assert main(["train", "tracking.experiment=gone"]) == 2
    assert "tracking.experiment=gone: was deleted in MLflow" in capsys.readouterr().err


def test_networks_that_torch_func_cannot_follow_are_named(home, monkeypatch, capsys):
    (home / "branching.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, input_shape, n_classes):\n"
        "        super().__init__()\n"
        "        self.a = torch.nn.Linear(input_shape[0], n_classes)\n"
        "    def forward(self, x):\n"
        "        return self.a(x) if x.sum() > 0 else -self.a(x)\n"
    )
    monkeypatch.syspath_prepend(home)
    assert main(["train", "model=custom", "allow_custom_code=true", "model._target_=branching.Net"]) == 2
    error = capsys.readouterr().err
    assert "model._target_=branching.Net: can't be trained as a stack" in error
    assert error.count("\n") == 1


def test_newlines_in_arguments_stay_one_line(capsys):
    assert main(["train", "a\nb\nc"]) == 2
    assert main(["train", "--fo\nx"]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_theory_as_a_table_and_as_json(capsys):
    assert main(["theory", "activation=tanh", "sigma_b2=0.05"]) == 0
    table = capsys.readouterr().out
    assert re.search(r"critical sigma_w\^2 +1\.76095\n", table)
    assert re.search(r"q\* +0\.570048\n", table)
    assert re.search(r"6 xi_c +inf\n", table)
    assert main(["theory", "activation=tanh", "sigma_b2=0.05", "sigma_w2=2.5", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == ["sigma_w2_critical", "q_star", "chi_1", "xi_q", "xi_c"]
    assert round(6 * found["xi_c"]) == 71
    assert main(["theory", "activation=gelu", "sigma_b2=0", "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out).values()) == {None}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("activation=swish", "activation=swish: must be one of erf, gelu, relu"),
        ("sigma_b2=-1", "sigma_b2=-1: must be greater than or equal to 0"),
        ("sigma_w2=0", "sigma_w2=0: must be greater than 0"),
        ("sigma_w=1", "sigma_w=1: unknown key; did you mean sigma_w2"),
    ],
)
def test_theory_names_mistakes(override, expected, capsys):
    assert main(["theory", override]) == 2
    assert expected in capsys.readouterr().err


def test_a_server_that_is_not_there_is_said_before_training(home, capsys):
    assert main(["train", "tracking.uri=http://127.0.0.1:9"]) == 1
    assert "no MLflow server answers at http://127.0.0.1:9" in capsys.readouterr().err


def test_a_folder_that_cannot_be_made(home, capsys):
    (home / "file").write_text("")
    assert main(["train", "tracking.dir=file/x"]) == 2
    assert "tracking.dir=file/x: can't be written" in capsys.readouterr().err


def test_no_traceback_from_the_process_itself(tmp_path):
    done = run_command("train", "trainer.epochs=zero", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr == "initlab: trainer.epochs=zero: must be a valid integer\n"
    assert list(tmp_path.iterdir()) == []


def metrics(home):
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("initlab").experiment_id
    return [run.data.metrics for run in client.search_runs([experiment], "tags.`initlab.kind` = 'train'")]


def test_the_same_command_twice_gives_the_same_metrics_to_the_last_bit(home, capsys):
    for _ in range(2):
        assert main(TRAIN) == 0
    assert main([*TRAIN, "trainer.stack_size=7"]) == 0
    assert main([*TRAIN, "seed=1"]) == 0
    other, *same = metrics(home)
    assert same[0] == same[1] == same[2]
    assert other != same[0]
    assert "test/accuracy" in capsys.readouterr().out


def test_zero_weights_and_biases_end_at_chance_with_one_neuron(home):
    assert main(["train", "weight_init=zeros", "bias_init=zeros"]) == 0
    (found,) = metrics(home)
    assert found["redundancy/effective_width"] == 1 / 64
    assert found["test/accuracy"] == pytest.approx(0.1, abs=0.03)


def test_glorot_trains_digits_with_all_neurons_distinct(home):
    assert main(["train", "weight_init=glorot_normal"]) == 0
    (found,) = metrics(home)
    assert found["test/accuracy"] >= 0.93
    assert found["redundancy/effective_width"] == 1


def test_scale_30_saturates(home):
    assert main(["train", "weight_init.scale=30"]) == 0
    (found,) = metrics(home)
    assert found["saturation/flat_fraction"] > 0.5
    assert found["init/saturation/flat_fraction"] > 0.5


def test_divergence_is_told_and_not_an_error(home, capsys):
    assert main([*TRAIN, "model.activation=relu", "weight_init.scale=1e25", "optimizer.lr=1e25"]) == 0
    assert "diverged: the loss was not finite at step 1" in capsys.readouterr().out
    (found,) = metrics(home)
    assert found["health/diverged_replicates"] == 1
    assert found["health/nonfinite_values"] > 0


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("dataset", ["wine", "breast_cancer"])
def test_other_datasets_and_optimisers(home, dataset, optimizer, capsys):
    assert main([*TRAIN, f"dataset={dataset}", f"optimizer={optimizer}", "optimizer.lr=0.05", "trainer.epochs=8"]) == 0
    assert metrics(home)[0]["test/accuracy"] > 0.8


def test_a_network_of_ones_own(home, monkeypatch, capsys):
    (home / "my_network.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, input_shape, n_classes, hidden):\n"
        "        super().__init__()\n"
        "        self.a = torch.nn.Linear(input_shape[0], hidden)\n"
        "        self.act = torch.nn.ReLU()\n"
        "        self.b = torch.nn.Linear(hidden, n_classes)\n"
        "    def forward(self, x):\n"
        "        return self.b(self.act(self.a(x)))\n"
    )
    monkeypatch.syspath_prepend(home)
    assert (
        main(
            [
                "train",
                "model=custom",
                "allow_custom_code=true",
                "model._target_=my_network.Net",
                "+model.hidden=24",
                "trainer.epochs=4",
            ]
        )
        == 0
    )
    assert metrics(home)[0]["test/accuracy"] > 0.8


def test_status_of_nothing_and_of_a_study(home, small_study, monkeypatch, capsys):
    assert main(["status"]) == 0
    assert "no studies yet" in capsys.readouterr().out
    monkeypatch.chdir(small_study)
    assert main(["status", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["name"] == "small"
    assert found["trials"]["COMPLETE"] == 8
    assert found["trials"]["RUNNING"] == 0
    assert 0.2 < found["best_value"] <= 1
    assert found["store"] == "mlruns/optuna/small.journal"
    assert main(["status"]) == 0
    assert "small" in capsys.readouterr().out


def test_a_network_that_no_memory_holds_is_refused(capsys):
    assert main(["train", "model.width=100000", "model.depth=20"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("initlab: model.depth=20, model.width=100000: 1.9e+11 parameters take 3.04e+03 GB or more")
    assert main(["train", "model=cnn", "dataset=digits", "model.width=10000", "model.convs=50"]) == 2
    assert "parameters take" in capsys.readouterr().err


def test_theory_knows_the_other_names_of_schemes(capsys):
    assert main(["theory", "activation=relu", "scheme=kaiming_normal"]) == 0
    assert "he_normal" in capsys.readouterr().out
