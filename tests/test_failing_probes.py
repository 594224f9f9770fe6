"""Probes that fail on some networks: linear algebra that can't be done there, for real."""

import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import QUICK, ROOT, runs
from failing_probe import ABOUT, FAILING, GRAM, WHOLE
from mlflow.tracking import MlflowClient
from networks import build
from torch import nn

from pipeline.init import InitSpec, initial_parameters
from pipeline.layers import trace_layers
from pipeline.models import MLP
from pipeline.optim import OptimizerSpec
from pipeline.plan import Member, Plan
from pipeline.probes import PROBES, Need, NetworkProbe, measure, take_snapshot
from pipeline.probes.registry import Cost
from pipeline.records import MemberRecord, TrialRecord
from pipeline.stack import Stack
from pipeline.train import train

SPECS = [InitSpec("he_normal"), InitSpec("zeros"), InitSpec("orthogonal"), InitSpec("constant", 0.1), InitSpec("tied")]
BROKEN = {1, 3, 4}
MEMBERS = [Member(seed, spec) for seed, spec in enumerate(SPECS)]
PLAN = Plan(2, 16, OptimizerSpec("sgd"), probes=tuple(PROBES), probe_points=4, keep_state=True)


@pytest.fixture
def failing(monkeypatch):
    for name, probe in FAILING.items():
        monkeypatch.setitem(PROBES, name, probe)


def told(record: MemberRecord) -> str:
    return repr((record.final, record.init, record.curves, record.layers))


def without(record: MemberRecord, names: set[str]) -> MemberRecord:
    def kept(found: dict) -> dict:
        return {name: value for name, value in found.items() if name not in names}

    looks = []
    for look in record.looks:
        own = [i for i, (_, metric) in enumerate(look.of) if metric not in names]
        looks.append(replace(look, of=[look.of[i] for i in own], values=[look.values[i] for i in own]))
    return replace(record, final=kept(record.final), init=kept(record.init), curves=kept(record.curves), looks=looks)


def assert_only_they_fail(module: nn.Module, data, plan: Plan, names: tuple[str, ...], broken: set[int]) -> None:
    healthy = train(module, data, MEMBERS, plan)
    found = train(module, data, MEMBERS, replace(plan, probes=(*plan.probes, *names)))
    for i, record in enumerate(found):
        assert set(record.failed) == (set(names) if i in broken else set())
        assert told(without(record, set(names))) == told(healthy[i])
        assert all(np.array_equal(value, record.state[key]) for key, value in healthy[i].state.items())
        (alone,) = train(module, data, [MEMBERS[i]], replace(plan, probes=(*plan.probes, *names)))
        assert told(alone) == told(record)
        for name in names:
            assert math.isnan(record.init[name]) == math.isnan(record.final[name]) == (i in broken)
            if i in broken:
                assert record.failed[name].endswith(", at step 0")
                assert "Error: " in record.failed[name]


@pytest.mark.parametrize("mode", ["native", "stacked", "loop", pytest.param("compiled", marks=pytest.mark.slow)])
def test_a_failing_probe_costs_its_networks_that_value_alone(mode, failing, wine64):
    module = MLP((13,), 3, depth=2, width=9)
    data = wine64.to("cpu", torch.float32)
    probes = tuple(name for name in PROBES if name not in (GRAM, WHOLE))
    # Of the first layer and of the second: in a network of equal units both are singular.
    plan = replace(PLAN, execution=mode, probes=probes)
    assert_only_they_fail(module, data, plan, (GRAM, WHOLE), BROKEN)


def test_of_a_network_some_layers_can_be_measured(failing, wine64):
    """Twelve units that read nine others have dependent rows; its layers of nine units haven't."""
    module = nn.Sequential(nn.Linear(13, 9), nn.Tanh(), nn.Linear(9, 12), nn.Tanh(), nn.Linear(12, 3))
    (record,) = train(module, wine64.to("cpu", torch.float32), MEMBERS[:1], replace(PLAN, probes=(GRAM,)))
    by_layer = {row.layer: row.value for row in record.layers if row.step == 0}
    assert sorted(map(math.isnan, by_layer.values())) == [False, True]
    assert math.isnan(record.final[GRAM])


class Choosy(nn.Module):
    """A network that refuses the 32 rows on which the Jacobian is taken."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = build("mlp-tanh", 13, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) == 32:
            raise ValueError("not of 32 rows")
        return self.inner(x)


def test_a_jacobian_that_cannot_be_taken_costs_its_own_probes(wine64):
    needy = tuple(name for name, probe in PROBES.items() if probe.need is Need.JACOBIAN)
    plan = replace(PLAN, probes=tuple(name for name in PROBES if name not in needy), probe_rows=64)
    assert len(needy) == 2
    assert_only_they_fail(Choosy(), wine64.to("cpu", torch.float32), plan, needy, set(range(len(MEMBERS))))


def test_out_of_memory_is_no_failure_of_a_probe(monkeypatch, wine64):
    """It halves the stack, so it must be seen."""

    def too_large(_):
        return torch.empty(2**50)

    monkeypatch.setitem(PROBES, GRAM, NetworkProbe(GRAM, Cost.LIGHT, ABOUT, True, Need.NOTHING, too_large))
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        train(MLP((13,), 3, 1, 5), wine64, MEMBERS[:2], replace(PLAN, probes=(GRAM,), dtype="float64"))


def test_where_all_have_diverged_a_probe_that_fails_has_no_value(failing, wine64):
    """Not none at all: other replicates of the trial may have one at that step."""
    module = MLP((13,), 3, 2, 9)
    starts = [initial_parameters(module, InitSpec("he_normal"), seed) for seed in range(2)]
    starts[0]["layers.1.weight"][0, 0] = math.nan
    layers = trace_layers(module.double(), wine64.x_train[:2])
    for states in (starts, starts[:1]):
        stack = Stack(module, states, torch.float64, 64)
        found = measure(take_snapshot(stack, layers, wine64.x_train[:32], wine64.y_train[:32]), (GRAM, WHOLE))
        assert set(found.network) == {GRAM, WHOLE}
        assert all(math.isnan(float(values[0])) for values in found.network.values())


def test_means_are_of_the_replicates_that_could_be_measured():
    nan = math.nan
    members = [
        MemberRecord(0, {"a": 1.0, "b": 1.0}, {"a": 3.0}, {"a": {0: 3.0, 9: 1.0}}),
        MemberRecord(1, {"a": nan, "b": 2.0}, {"a": 5.0}, {"a": {0: 5.0, 9: nan}}, failed={"a": "LinAlgError: it"}),
        MemberRecord(2, {"a": 4.0, "b": 3.0}, {"a": 4.0}, {"a": {0: 4.0, 9: 4.0}}),
    ]
    record = TrialRecord(members)
    assert record.means() == {"a": 2.5, "b": 2.0, "init/a": 4.0}
    assert record.curves() == {"a": {0: 4.0, 9: 2.5}}
    assert record.spread("a") == pytest.approx(math.sqrt(4.5))
    assert (record.failed, record.unmeasured) == ({"a": "LinAlgError: it (seed 1)"}, 1)
    at_the_start = replace(members[1], final={"a": 7.0}, init={"a": nan}, curves={"a": {0: nan, 9: 7.0}})
    others = TrialRecord([members[0], at_the_start])
    assert (others.mean("a"), others.means()["init/a"]) == (4.0, 3.0)
    assert others.curves() == {"a": {0: 3.0, 9: 4.0}}
    diverged = TrialRecord([members[0], replace(at_the_start, final={"a": nan}, diverged_step=5)])
    assert math.isnan(diverged.mean("a"))
    everywhere = TrialRecord([replace(members[1], seed=seed) for seed in range(2)])
    assert math.isnan(everywhere.mean("a"))
    assert everywhere.curves()["a"][0] == 5.0


STUDY = [*QUICK, "study.name=s", "search=random", "search.n_trials=6", "search.replicates=3", "dataset=wine"]
ARMS = "{choices: [he_normal, zeros, orthogonal]}"


@pytest.mark.slow
def test_a_study_goes_on_and_says_so_once(home):
    named = ",".join(["redundancy/effective_width", GRAM, WHOLE])
    axes = [f"+search.space.weight_init.name={ARMS}", "search.space.weight_init.scale=null", "search.enqueue=[]"]
    probes = [f"probes.only=[{named}]"]

    def command(*arguments):
        command = [sys.executable, ROOT / "tests" / "failing_probe.py", *arguments]
        return subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)

    done = command("sweep", *STUDY, *axes, *probes)
    assert (done.returncode, done.stderr) == (0, "")
    for name in (GRAM, WHOLE):
        assert done.stdout.count(f"note: probe {name} failed: ") == 1
    trials = runs(MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db"), "trial")
    assert len(trials) == 6
    assert {run.data.params["weight_init.name"] for run in trials} > {"zeros"}
    for run in trials:
        broken = run.data.params["weight_init.name"] == "zeros"
        assert run.info.status == "FINISHED"
        assert ("initlab.failed_probes" in run.data.tags) == broken
        assert ({GRAM, WHOLE} & set(run.data.metrics) == set()) == broken
        assert run.data.metrics.get("health/unmeasured_replicates", 0.0) == 3.0 * broken
        assert "redundancy/effective_width" in run.data.metrics
    report = next((home / "mlruns").rglob("report.md")).read_text()
    assert "not measured | 3 of its replicates: a probe failed" in report
    assert command("status", "study.name=s").returncode == 0
