import itertools

import pytest
import torch
from conftest import ROOT

from pipeline.activations import ACTIVATIONS
from pipeline.config import (
    CONF_DIR,
    build_model,
    choices,
    compose,
    config_hash,
    groups,
    handed_on,
    plain,
    to_yaml,
    with_values,
)
from pipeline.data import SOURCES
from pipeline.errors import UsageError
from pipeline.init import BIASES, WEIGHTS

NEEDED = {
    "dataset=npz": ["dataset.path=x.npz"],
    "model=custom": ["model._target_=torch.nn.Identity", "allow_custom_code=true"],
}


def test_groups_are_those_of_the_design():
    expected = "dataset model weight_init bias_init optimizer trainer probes search tracking launcher experiment report"
    assert groups() == sorted(expected.split())


@pytest.mark.parametrize("choice", [f"{g}={c}" for g in groups() for c in choices(g)])
def test_every_choice_of_every_group_composes(choice):
    config = compose([choice, *NEEDED.get(choice, [])])
    group, name = choice.split("=")
    if group in ("weight_init", "bias_init", "optimizer", "dataset", "launcher"):
        assert getattr(config, group).name == name


def test_choices_are_the_registries():
    assert choices("weight_init") == sorted(WEIGHTS)
    assert choices("bias_init") == sorted(BIASES)
    assert choices("dataset") == sorted([*SOURCES, "npz"])


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_the_model_is_built_as_configured(activation):
    config = compose([f"model.activation={activation}", "model.depth=3", "model.width=5"])
    network = build_model(config.model, (2, 3), 4)
    assert network(torch.zeros(7, 2, 3)).shape == (7, 4)
    linear = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(6, 5), (5, 5), (5, 5), (5, 4)]


def test_aliases_name_the_same_scheme():
    pairs = {"kaiming_normal": "he_normal", "xavier_uniform": "glorot_uniform", "lecun": "lecun_normal"}
    for alias, name in pairs.items():
        assert compose([f"weight_init={alias}"]).weight_init.name == name


WRONG = {
    "weight_init=foo": ["weight_init=foo", "he_normal"],
    "bias_init=foo": ["bias_init=foo", "constant"],
    "dataset=foo": ["dataset=foo", "digits"],
    "model=foo": ["model=foo", "mlp"],
    "optimizer=lbfgs": ["optimizer=lbfgs", "adamw"],
    "search=foo": ["search=foo", "tpe"],
    "experiment=foo": ["experiment=foo", "depth"],
    "weight_init.scale=-1": ["weight_init.scale=-1", "greater than or equal to 0"],
    "weight_init.scale=nan": ["weight_init.scale=nan", "finite"],
    "weight_init.scale=inf": ["weight_init.scale=inf", "finite"],
    "weight_init.scale=1e400": ["weight_init.scale=inf", "finite"],
    "weight_init.scale=abc": ["weight_init.scale=abc", "number"],
    "weight_init.scale=": ["weight_init.scale=", "number"],
    "bias_init.value=nan": ["bias_init.value=nan", "finite"],
    "search.replicates=0": ["search.replicates=0", "greater than or equal to 1"],
    "search.confirm=-1": ["search.confirm=-1", "greater than or equal to 0"],
    "study.question=q9": ["study.question=q9", "'q1'"],
    "report.questions=[]": ["report.questions=[]", "at least 1"],
    "report.questions=[q8]": ["report.questions.0=q8", "'q1'"],
    "search.n_trials=0": ["search.n_trials=0", "greater than or equal to 1"],
    "search.n_trials=1.5": ["search.n_trials=1.5", "integer"],
    "search.sampler=foo": ["search.sampler=foo", "tpe"],
    "search.objective=foo": ["search.objective=foo", "val/accuracy"],
    "trainer.epochs=0": ["trainer.epochs=0", "greater than or equal to 1"],
    "trainer.batch_size=-4": ["trainer.batch_size=-4", "greater than or equal to 1"],
    "trainer.dtype=float16": ["trainer.dtype=float16", "float64"],
    "optimizer.lr=0": ["optimizer.lr=0", "greater than 0"],
    "optimizer.momentum=1": ["optimizer.momentum=1", "less than 1"],
    "optimizer.momentun=0.5": ["optimizer.momentun=0.5", "optimizer.momentum"],
    "model.widht=3": ["model.widht=3", "model.width"],
    "model.depth=0": ["model.depth=0", "greater than or equal to 1"],
    "model.activation=swish": ["model.activation=swish", "softsign"],
    "model._target_=[a]": ["model._target_", "string"],
    "+model.extra=1": ["model.extra=1", "unknown key"],
    "+foo=1": ["foo=1", "unknown key"],
    "foo.bar=1": ["foo.bar=1", "unknown key"],
    "~trainer.epochs": ["trainer.epochs", "missing"],
    "~nothing": ["nothing", "unknown key"],
    "seed=-1": ["seed=-1", "greater than or equal to 0"],
    "seed=true": ["seed=True", "integer"],
    "seed=${nothing}": ["seed", "nothing"],
    "device=tpu": ["device=tpu", "cuda"],
    "dataset.val_fraction=1.0": ["dataset.val_fraction=1.0", "less than 1"],
    "study.name=''": ["study.name=", "at least 1 character"],
    "weight_init=zeros,he_normal": ["weight_init=zeros,he_normal", "one value only"],
    "weight_init.scale=range(1,3)": ["weight_init.scale=range(1,3)", "one value only"],
    "weight_init=[zeros]": ["weight_init=[zeros]", "he_normal"],
    "trainer=3": ["trainer=3", "default"],
    "trainer.epochs={a: 1}": ["trainer.epochs", "integer"],
    "search.space=3": ["search.space=3", "dictionary"],
    "model=custom": ["model._target_", "issing"],
    "dataset=npz": ["dataset.path", "issing"],
    "nonsense": ["nonsense", "key=value"],
    "=3": ["=3", "key=value"],
    "a=[1": ["a=[1", "key=value"],
    "": ["key=value"],
    "~dataset": ["dataset", "digits"],
    "~model": ["model", "mlp"],
    "hydra.run.dir=x": ["hydra.run.dir", "no settings"],
    "hydra/launcher=foo": ["hydra/launcher", "no settings"],
    "weight_init.layers.last=foo": ["weight_init.layers.last", "he_normal"],
    "weight_init.layers.last={name: zeros, scale: -1}": ["weight_init.layers.last.scale=-1", "greater than"],
    "weight_init.layers.middle=zeros": ["weight_init.layers.middle", "unknown key"],
}


@pytest.mark.parametrize("override", WRONG)
def test_what_is_wrong_is_named_in_one_line(override):
    with pytest.raises(UsageError) as caught:
        compose([override])
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    for expected in WRONG[override]:
        assert expected in message


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("model.depth=17", ["model.depth=17", "less than or equal to 16"]),
        ("model.width=0", ["model.width=0", "greater than or equal to 1"]),
        ("model.convs=0", ["model.convs=0", "greater than or equal to 1"]),
        ("model.pooling=min", ["model.pooling=min", "avg, max"]),
        ("model.activation=swish", ["model.activation=swish", "softsign"]),
        ("model.hidden=-1", ["model.hidden=-1", "greater than or equal to 0"]),
        ("model.dropout=1", ["model.dropout=1", "less than 1"]),
        ("model.image_shape=3", ["model.image_shape=3", "unknown key"]),
    ],
)
def test_what_is_wrong_with_a_cnn_is_named(override, parts):
    with pytest.raises(UsageError) as caught:
        compose(["model=cnn", override])
    assert all(part in str(caught.value) for part in parts), caught.value


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("no.such.thing", "can't be built"),
        ("torch.nn.Linear", "can't be built"),
        ("os.system", "can't be built"),
        ("builtins.dict", None),
    ],
)
def test_models_that_cannot_be_built(target, reason):
    config = compose(["model=custom", f"model._target_={target}", "allow_custom_code=true"])
    if reason is None:  # builds something that is no network: the runner says so
        assert not isinstance(build_model(config.model, (4,), 2), torch.nn.Module)
        return
    with pytest.raises(UsageError, match=rf"model\._target_={target}: {reason}"):
        build_model(config.model, (4,), 2)


def test_hash_is_of_what_decides_the_numbers():
    base = compose([])
    same = ["study.name=x", "search.n_trials=5", "tracking.dir=/tmp/x", "trainer.stack_size=4", "report.top=3"]
    same.append("allow_custom_code=true")
    other = ["seed=1", "model.width=32", "weight_init=he_normal", "dataset=wine", "search.replicates=2"]
    assert {config_hash(compose([o])) for o in same} == {config_hash(base)}
    hashes = [config_hash(c) for c in (base, *(compose([o]) for o in other))]
    assert all(a != b for a, b in itertools.combinations(hashes, 2))


def test_with_values_checks_as_the_command_line_does():
    config = compose([])
    assert with_values(config, {"weight_init.scale": 0.0}).weight_init.scale == 0
    assert plain(config)["weight_init"]["scale"] == 1.0
    with pytest.raises(UsageError, match=r"weight_init\.scale=-1\.0"):
        with_values(config, {"weight_init.scale": -1.0})
    with pytest.raises(UsageError, match=r"weight_init\.scael=1: unknown key; did you mean weight_init\.scale"):
        with_values(config, {"weight_init.scael": 1})
    assert with_values(compose(["model=cnn"]), {"model.depth": 3, "model.width": 4}).model.depth == 3


def test_configuration_lives_at_the_top_of_the_checkout():
    assert CONF_DIR == ROOT / "conf"


def test_no_experiment_may_be_said():
    assert config_hash(compose(["experiment=null"])) == config_hash(compose([]))


def test_a_place_of_its_own():
    config = compose(["weight_init.layers.last=zeros", "bias_init.layers.hidden={name: constant, value: 0.5}"])
    assert config.weight_init.layers.last.name == "zeros"
    assert config.bias_init.layers.hidden.value == 0.5


@pytest.mark.parametrize("key", ["tracking.uri", "search.storage"])
def test_the_resolved_configuration_holds_no_password(key):
    text = to_yaml(compose([f"{key}='postgresql+psycopg://me:secret@host:5432/db?sslpassword=secret'"]))
    assert "secret" not in text
    assert f"{key.split('.')[1]}: postgresql+psycopg://me:***@host:5432/db\n" in text


def test_code_of_ones_own_needs_to_be_let_in(tmp_path, monkeypatch):
    (tmp_path / "loud_module.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    arms = "+search.space.arm={arms: {a: {model._target_: loud_module.Net}}}"
    for overrides in (
        ["model=custom", "model._target_=loud_module.Net"],
        ["model=custom", "model._target_=torch.nn.Identity", "+model.inner._target_=loud_module.Net"],
        ["+search.space.model._target_={choices: [loud_module.Net]}"],
        [arms],
        ["search.enqueue=[{model._target_: loud_module.Net}]"],
    ):
        with pytest.raises(
            UsageError, match=r"_target_.*: runs code from outside of the lab; .* allow_custom_code=true"
        ):
            compose(overrides)
    with pytest.raises(UsageError, match="allow_custom_code=true"):
        with_values(compose([]), {"model._target_": "loud_module.Net"})
    assert not (tmp_path / "imported").exists()
    assert compose(["model._target_=pipeline.models.MLP"]).model.target == "pipeline.models.MLP"


def test_addresses_are_handed_on_through_the_environment():
    overrides = ["seed=3", "tracking.uri=http://me:secret@host", "search.storage=runs.journal", "study.name='a://b'"]
    given, variables = handed_on(compose(overrides), overrides)
    assert given == ["seed=3", "search.storage=runs.journal", "study.name='a://b'"]
    assert variables == {"MLFLOW_TRACKING_URI": "http://me:secret@host"}


def test_the_storage_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("INITLAB_STORAGE", "postgresql://me:secret@host/db")
    assert compose([]).search.storage == "postgresql://me:secret@host/db"
    assert compose(["search.storage=null"]).search.storage is None
