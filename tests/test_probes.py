"""Every probe against a closed form and against its slow oracle."""

import math

import numpy as np
import oracles
import pytest
import torch
from networks import NETWORKS, build, fit_data
from torch import nn

from pipeline.activations import ACTIVATIONS
from pipeline.init import BIASES, WEIGHTS, InitSpec, initial_parameters
from pipeline.layers import Layer, activation_paths, trace_layers
from pipeline.models import MLP
from pipeline.probes import PROBES, LayerState, Snapshot, log_spaced, measure, take_snapshot
from pipeline.stack import Stack


def state(weight, bias=None, z=None, a=None, activation="tanh") -> LayerState:
    """One layer of one network."""
    weight = torch.as_tensor(weight, dtype=torch.float64)[None]
    bias = torch.zeros(weight.shape[:2], dtype=torch.float64) if bias is None else torch.as_tensor(bias).double()[None]
    z = torch.zeros(1, 2, weight.shape[1], dtype=torch.float64) if z is None else torch.as_tensor(z).double()[None]
    a = ACTIVATIONS[activation].module()(z) if a is None else torch.as_tensor(a, dtype=torch.float64)[None]
    return LayerState("l", ACTIVATIONS[activation], weight, bias, weight, bias, z, a)


def value(name: str, layer: LayerState) -> float:
    snapshot = Snapshot([layer], torch.ones(1, dtype=torch.bool))
    return float(measure(snapshot, [name]).network[name])


EYE = np.eye(4)


@pytest.mark.parametrize(
    ("name", "layer", "expected"),
    [
        ("redundancy/effective_width", state(np.zeros((4, 3))), 1 / 4),
        ("redundancy/effective_width", state(np.zeros((4, 3)), [0.0, 1, 1, 2]), 3 / 4),
        ("redundancy/effective_width", state(EYE), 1),
        ("redundancy/effective_width", state([[1.0, 0], [1 + 0.9e-5, 0]]), 1 / 2),
        ("redundancy/effective_width", state([[1.0, 0], [1 + 1.1e-5, 0]]), 1),
        ("redundancy/effective_width", state([[1e-30, 0], [1.1e-30, 0]]), 1),
        ("redundancy/effective_width", state([[1e30, 0], [1e30, 0]]), 1 / 2),
        ("redundancy/functional_width", state(EYE, a=[[1, 1, 2, 1], [2, 2, 1, 1], [3, 3, 0, 1.0]]), 2 / 4),
        ("redundancy/functional_width", state(EYE, a=[[1, 5, 0, 0], [1, 5, 0, 0], [1, 5, 0, 0.0]]), 1 / 4),
        ("redundancy/functional_width", state(EYE, a=[[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 0.0]]), 3 / 4),
        (
            "redundancy/functional_width",
            state(EYE[:2], a=[[1e-200, 2e-200], [3e-200, 6e-200], [2e-200, 4e-200]]),
            1 / 2,
        ),
        ("redundancy/effective_rank", state(EYE), 1),
        ("redundancy/effective_rank", state(np.ones((4, 4))), 1 / 4),
        ("redundancy/effective_rank", state(np.zeros((4, 4))), 0),
        ("redundancy/effective_rank", state(1e-200 * EYE), 1),
        ("redundancy/effective_rank", state(np.diag([1.0, 1, 0, 0])), 2 / 4),
        ("redundancy/row_cosine", state(EYE), 0),
        ("redundancy/row_cosine", state(-3 * np.ones((4, 4))), 1),
        ("redundancy/row_cosine", state(np.zeros((4, 4))), 1),
        ("redundancy/row_cosine", state([[1.0, 0], [1, 1], [0, 0]]), math.sqrt(0.5) * 2 / 6),
        ("redundancy/row_cosine", state([[1.0, 1.0]]), 0),
        ("saturation/flat_fraction", state(EYE, z=[[0.0, 1.81, 1.82, -5], [0, 0, 0, -1.82]]), 3 / 8),
        ("saturation/dead_fraction", state(EYE, z=[[0.0, 1.81, 1.82, -5], [0, 0, 0, -1.82]]), 1 / 4),
        ("saturation/dead_fraction", state(EYE, z=[[-1.0, 0, 1, -1], [-1, 0, -1, 2]], activation="relu"), 2 / 4),
        ("saturation/linear_fraction", state(EYE, z=[[0.0, 0.39, 0.40, -0.39], [9, 9, 9, 9]]), 3 / 8),
        ("saturation/linear_fraction", state(EYE, z=[[-1.0, 0, 1e-9, 5], [-1, 0, 0, 1]], activation="relu"), 3 / 8),
        ("saturation/flat_fraction", state(EYE, z=[[3.63, 3.64, 0, 0]] * 2, activation="sigmoid"), 1 / 4),
    ],
)
def test_closed_form(name, layer, expected):
    assert value(name, layer) == pytest.approx(expected, abs=1e-9)


def test_gradient_ratio_in_closed_form():
    # A linear chain 1 - w - v on one sample: dL/dw = g v x, dL/dv = g w x, with the biases' g v and g.
    def layer(gradient, bias_gradient):
        one = torch.tensor([[[1.0]]], dtype=torch.float64)
        return LayerState("l", None, one, one[..., 0], one * gradient, one[..., 0] * bias_gradient, None, None)

    snapshot = Snapshot([layer(3.0, 4.0), layer(0.0, 10.0)], torch.ones(1, dtype=torch.bool))
    assert float(measure(snapshot, ["signal/gradient_ratio"]).network["signal/gradient_ratio"]) == pytest.approx(0.5)
    tiny = Snapshot([layer(3e-200, 4e-200), layer(0.0, 10e-200)], torch.ones(1, dtype=torch.bool))
    assert float(measure(tiny, ["signal/gradient_ratio"]).network["signal/gradient_ratio"]) == pytest.approx(0.5)


def members(module: nn.Module) -> list[dict[str, torch.Tensor]]:
    specs = [InitSpec(w, s, b, 0.3) for w in sorted(WEIGHTS) for b in sorted(BIASES)[:2] for s in (0.5, 3.0)]
    found = [initial_parameters(module, spec, seed, fit_data()) for seed, spec in enumerate(specs)]
    # Copies, near copies and opposite rows in the first weight.
    for i, p in enumerate(found[::3]):
        weight = next(v for v in p.values() if v.ndim >= 2)
        weight[1] = weight[0] * (1 + (i % 3) * 1e-5)
        weight[2] = -weight[0]
    return found


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_layer_probes_against_slow_oracles(name, wine64):
    module = build(name, 13, 3).double()
    layers = trace_layers(module, wine64.x_train[:2])
    starts = members(module)
    stack = Stack(module, starts, torch.float64, 64)
    x, y = wine64.x_train[:32], wine64.y_train[:32]
    found = measure(take_snapshot(stack, layers, x, y), tuple(PROBES))
    for i in range(0, len(starts), 3):
        for layer in (la for la in layers if la.hidden):
            weight, bias, z, a = by_hand(stack, layer, i, x)
            activation = layer.activation.name
            expected = {
                "redundancy/effective_width": oracles.effective_width(weight, bias),
                "redundancy/functional_width": oracles.functional_width(a),
                "redundancy/effective_rank": oracles.effective_rank(weight),
                "redundancy/row_cosine": oracles.row_cosine(weight),
                "saturation/flat_fraction": oracles.flat_fraction(activation, z),
                "saturation/dead_fraction": oracles.dead_fraction(activation, z),
                "saturation/linear_fraction": oracles.linear_fraction(activation, z),
            }
            for probe, oracle in expected.items():
                assert float(found.layers[layer.name, probe][i]) == pytest.approx(oracle, abs=1e-6), (i, probe)


def by_hand(stack: Stack, layer: Layer, member: int, x: torch.Tensor):
    """Weight, bias, pre-activations and activations of one layer of one member, as numpy."""
    module = stack.module
    module.load_state_dict(stack.member(member))
    module.eval()
    kept = {}
    path = activation_paths(module)[layer.call]  # in these networks each serves one layer, in order
    hook = module.get_submodule(path).register_forward_hook(
        lambda _, args, out: kept.update(z=args[0].detach(), a=out.detach())
    )
    module(x)
    hook.remove()
    weight = stack.member(member)[layer.weight].flatten(1).numpy()
    bias = stack.member(member)[layer.bias].numpy() if layer.bias else np.zeros(len(weight))
    z, a = ((t.movedim(1, -1).flatten(0, -2) if t.ndim > 2 else t).numpy() for t in (kept["z"], kept["a"]))
    return weight, bias, z, a


@pytest.mark.parametrize("name", ["mlp-tanh", "residual", "convolutional"])
def test_gradient_ratio_against_autograd(name, wine64):
    module = build(name, 13, 3).double()
    layers = trace_layers(module, wine64.x_train[:2])
    starts = members(module)[:6]
    x, y = wine64.x_train[:32], wine64.y_train[:32]
    stack = Stack(module, starts, torch.float64, 64)
    found = measure(take_snapshot(stack, layers, x, y), ["signal/gradient_ratio"]).network["signal/gradient_ratio"]
    for i, start in enumerate(starts):
        module.load_state_dict(start)
        module.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        first, last = (module.get_submodule(layers[k].name) for k in (0, -1))
        norms = [math.sqrt(sum(float((p.grad**2).sum()) for p in m.parameters())) for m in (first, last)]
        assert float(found[i]) == pytest.approx(norms[0] / norms[1] if norms[0] else 0.0, rel=1e-9)


def test_update_ratio_is_what_an_optimiser_step_does(digits):
    from pipeline.optim import OptimizerSpec
    from pipeline.plan import Member, Plan
    from pipeline.train import train

    data = digits.to("cpu", torch.float64)
    plan = Plan(
        epochs=1, batch_size=1024, optimizer=OptimizerSpec(), dtype="float64", probes=tuple(PROBES), keep_state=True
    )
    module = MLP((64,), 10, 1, 8)
    spec = InitSpec("glorot_normal")
    (record,) = train(module, data, [Member(0, spec, lr=0.1)], plan)
    before = initial_parameters(module, spec, 0)
    weights = [name for name in before if name.endswith("weight")]
    moved = math.sqrt(sum(float(((record.state[n] - before[n].numpy()) ** 2).sum()) for n in weights))
    size = math.sqrt(sum(float((before[n] ** 2).sum()) for n in weights))
    assert record.final["signal/update_ratio"] == pytest.approx(moved / size, rel=1e-9)
    assert record.init["signal/update_ratio"] == record.final["signal/update_ratio"]


def test_pooling_weighs_units_or_layers():
    layers = [state(np.zeros((4, 3))), state(np.eye(12))]
    snapshot = Snapshot(layers, torch.ones(1, dtype=torch.bool))
    found = measure(snapshot, tuple(PROBES)).network
    assert float(found["redundancy/effective_width"]) == pytest.approx((1 + 12) / 16)
    assert float(found["redundancy/effective_rank"]) == pytest.approx((0 + 1) / 2)


def test_a_diverged_member_measures_nan_and_spoils_nobody(wine64):
    module = MLP((13,), 3, 2, 6)
    starts = [initial_parameters(module, InitSpec("glorot_normal"), s) for s in range(2)]
    alone = Stack(module, starts[1:], torch.float64, 64)
    starts[0]["layers.1.weight"][0, 0] = math.nan
    both = Stack(module, starts, torch.float64, 64)
    layers = trace_layers(module.double(), wine64.x_train[:2])
    x, y = wine64.x_train[:32], wine64.y_train[:32]
    found, expected = (measure(take_snapshot(s, layers, x, y), tuple(PROBES)).network for s in (both, alone))
    for name, values in found.items():
        assert math.isnan(float(values[0])), name
        assert float(values[1]) == float(expected[name][0]), name


@pytest.mark.parametrize(("total", "points"), [(340, 8), (1, 8), (2, 2), (10_000, 20), (7, 100)])
def test_log_spaced_steps(total, points):
    steps = log_spaced(total, points)
    assert steps[0] == 0
    assert steps[-1] == total
    assert steps == sorted(set(steps))
    assert len(steps) <= points + 1
    gaps = np.diff(steps)
    assert gaps[-1] >= gaps[0]


class Sharing(nn.Module):
    """One activation module after two layers, and one weight used by two modules."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(13, 9), nn.Linear(9, 9), nn.Linear(9, 9)
        self.c.weight = self.b.weight
        self.act = nn.Tanh()
        self.out = nn.Linear(9, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.act(self.c(self.act(self.b(self.act(self.a(x)))))))


def test_shared_activations_and_weights(wine64):
    module = Sharing().double()
    layers = trace_layers(module, wine64.x_train[:2])
    assert [(la.weight, la.call) for la in layers] == [("a.weight", 0), ("b.weight", 1), ("out.weight", -1)]
    start = initial_parameters(module, InitSpec("normal"), 0)
    stack = Stack(module, [start], torch.float64, 64)
    x = wine64.x_train[:32]
    found = measure(take_snapshot(stack, layers, x, wine64.y_train[:32]), ["saturation/flat_fraction"]).layers
    z_a = x @ start["a.weight"].T
    z_b = torch.tanh(z_a) @ start["b.weight"].T
    for name, z in (("a", z_a), ("b", z_b)):
        expected = oracles.flat_fraction("tanh", z.numpy())
        assert float(found[name, "saturation/flat_fraction"]) == pytest.approx(expected, abs=1e-12)


def test_layers_are_found_in_order_of_execution(wine64):
    names = {
        n: [(la.name, la.hidden) for la in trace_layers(build(n, 13, 3).double(), wine64.x_train[:2])] for n in NETWORKS
    }
    assert names["mlp-tanh"] == [("layers.1", True), ("layers.3", True), ("layers.5", False)]
    assert names["residual"] == [("inp", False), ("a", True), ("b", True), ("out", False)]
    assert names["convolutional"] == [("conv", True), ("out", False)]
