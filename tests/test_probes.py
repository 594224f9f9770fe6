"""Every probe against a closed form and against its slow oracle."""

import math

import numpy as np
import oracles
import pytest
import torch
from networks import NETWORKS, build
from torch import nn

from pipeline.activations import ACTIVATIONS
from pipeline.device import reproducible
from pipeline.init import InitSpec, initial_parameters
from pipeline.layers import trace_layers
from pipeline.models import MLP
from pipeline.probes import (
    PROBES,
    LayerProbe,
    LayerState,
    NetworkProbe,
    Snapshot,
    log_spaced,
    measure,
    take_snapshot,
)
from pipeline.stack import Stack, slot_independent


def state(weight, bias=None, z=None, a=None, activation="tanh", gradient=None, **others) -> LayerState:
    """One layer of one network."""
    weight = torch.as_tensor(weight, dtype=torch.float64)[None]
    bias = torch.zeros(weight.shape[:2], dtype=torch.float64) if bias is None else torch.as_tensor(bias).double()[None]
    z = torch.zeros(1, 2, weight.shape[1], dtype=torch.float64) if z is None else torch.as_tensor(z).double()[None]
    a = ACTIVATIONS[activation].module()(z) if a is None else torch.as_tensor(a, dtype=torch.float64)[None]
    gradient = weight if gradient is None else torch.as_tensor(gradient, dtype=torch.float64)[None]
    others = {name: torch.as_tensor(t, dtype=torch.float64)[None] for name, t in others.items()}
    return LayerState("l", ACTIVATIONS[activation], weight, bias, gradient, torch.zeros_like(bias), z, a, **others)


def value(name: str, layer: LayerState) -> float:
    snapshot = Snapshot([layer], torch.ones(1, dtype=torch.bool))
    return float(measure(snapshot, [name]).layers["l", name])


EYE = np.eye(4)
# Three units over ten samples, positive on 10, 9 and 0 of them.
SKEWED = np.where(np.arange(10)[:, None] < [10, 9, 0], 1.0, -1.0)
TURN = np.array([[0.6, -0.8], [0.8, 0.6]])
POINTS = np.array([[1.0, 0], [0, 2], [-1, -2]])

CASES = [
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
    ("redundancy/stable_rank", state(EYE), 1),
    ("redundancy/stable_rank", state(np.diag([2.0, 1, 1, 0])), 6 / 4 / 4),
    ("redundancy/stable_rank", state(1e-200 * np.ones((4, 3))), 1 / 3),
    ("redundancy/stable_rank", state(np.zeros((4, 4))), 0),
    ("redundancy/srank", state(EYE[:3], a=np.diag([98.0, 1, 1])), 2 / 3),
    ("redundancy/srank", state(EYE, a=EYE), 1),
    ("redundancy/srank", state(EYE, a=np.zeros((5, 4))), 0),
    ("redundancy/srank", state(EYE, a=np.ones((9, 4))), 1 / 4),
    ("redundancy/participation_ratio", state(EYE[:2], a=[[1, 1], [1, -1], [-1, 1], [-1, -1.0]]), 1),
    (
        "redundancy/participation_ratio",
        state(EYE[:2], a=[[3**0.5, 1], [3**0.5, -1], [-(3**0.5), 1], [-(3**0.5), -1]]),
        0.8,
    ),
    ("redundancy/participation_ratio", state(EYE, a=5 * np.ones((9, 4))), 0),
    ("redundancy/row_copies", state([[1.0, 2], [3, 4], [1, 2], [5, 6]]), 2 / 4),
    ("redundancy/row_copies", state(np.zeros((4, 3))), 1),
    ("redundancy/row_copies", state(np.zeros((4, 3)), [0.0, 1, 1, 2]), 2 / 4),
    ("redundancy/row_copies", state(EYE), 0),
    ("redundancy/column_copies", state(EYE[:3], outgoing=[[1.0, 2], [1, 2], [2, 1]]), 2 / 3),
    ("redundancy/gradient_copies", state(EYE[:3], gradient=[[1.0, 0], [1, 0], [0, 1]]), 2 / 3),
    ("redundancy/gradient_copies", state(EYE[:3], gradient=[[1e-200, 0], [2e-200, 0], [0, 1e-200]]), 0),
    ("redundancy/gradient_copies", state(EYE[:3], gradient=np.zeros((3, 2))), 1),
    ("redundancy/cloning_r2", state(EYE[:3], a=[[0, 0, 1], [1, 1, 0.0]]), 2 / 3),
    ("redundancy/cloning_r2", state(EYE[:2], a=[[0, 0], [2, 2], [4, 5.0]]), (1 - 1 / 8 + 1 - 1 / (38 / 3)) / 2),
    ("redundancy/cloning_r2", state(EYE[:3], a=[[3, 3, 4.0]] * 5), 2 / 3),
    ("redundancy/cloning_r2", state([[1.0]], a=[[0], [1.0]]), 0),
    ("saturation/dormant_fraction", state(EYE, a=[[0, 0.02, -1, 1.0]] * 2), 1 / 4),
    ("saturation/dormant_fraction", state(EYE, a=[[0, 0.01, -1, 1.0]] * 2), 2 / 4),
    ("saturation/dormant_fraction", state(EYE, a=np.zeros((2, 4))), 1),
    ("saturation/skewed_fraction", state(EYE[:3], z=SKEWED), 2 / 3),
    ("saturation/rakitianskaia_engelbrecht", state(EYE, a=[[-1, 0, 0.5, 0.9]] * 2), 0.6),
    ("saturation/rakitianskaia_engelbrecht", state(EYE, a=[[0, 0.5, 1, 1.0]] * 2, activation="sigmoid"), 0.75),
    ("signal/activation_variance", state(EYE[:2], a=[[1, 3], [1, 3.0]]), 1),
    ("signal/gradient_variance", state(EYE[:2], gradient=[[1, 3], [1, 3.0]]), 1),
    ("signal/layer_update_ratio", state(EYE, update_ratio=0.25), 0.25),
    ("signal/cka_to_start", state(EYE, a=EYE, start=EYE), 1),
    ("signal/cka_to_start", state(EYE[:2], a=3 * POINTS @ TURN + 7, start=POINTS), 1),
    ("signal/cka_to_start", state([[1.0]], a=[[1], [0], [-1.0]], start=[[1], [-2], [1.0]]), 0),
    ("signal/cka_to_start", state(EYE, a=np.ones((3, 4)), start=2 * np.ones((3, 4))), 1),
    ("signal/cka_to_start", state(EYE, a=np.ones((4, 4)), start=EYE), 0),
]


@pytest.mark.parametrize(("name", "layer", "expected"), CASES)
def test_closed_form(name, layer, expected):
    assert value(name, layer) == pytest.approx(expected, abs=1e-9)


def test_every_layer_probe_has_a_closed_form():
    assert {name for name, _, _ in CASES} == {name for name in PROBES if isinstance(PROBES[name], LayerProbe)}


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_what_is_not_defined_is_left_out(activation):
    """No bounds, no reader found, no step yet, no start kept, no Jacobian, one layer."""
    found = measure(Snapshot([state(EYE, activation=activation)], torch.ones(1, dtype=torch.bool)), tuple(PROBES))
    undefined = {
        "saturation/rakitianskaia_engelbrecht",
        "redundancy/column_copies",
        "signal/layer_update_ratio",
        "signal/cka_to_start",
    }
    assert {name for _, name in found.layers} == {n for n, p in PROBES.items() if isinstance(p, LayerProbe)} - undefined
    assert not {name for name in found.network if isinstance(PROBES[name], NetworkProbe)}


def test_jacobian_in_closed_form():
    def found(*jacobians) -> tuple[float, float]:
        snapshot = Snapshot(
            [], torch.ones(1, dtype=torch.bool), jacobian=torch.tensor([jacobians], dtype=torch.float64)
        )
        network = measure(snapshot, ["signal/jacobian_mean", "signal/jacobian_condition"]).network
        return tuple(float(v) for v in network.values())

    assert found([[3.0, 0], [0, 1]]) == pytest.approx((2, 3))
    assert found([[3.0, 0], [0, 1]], [[12.0, 0], [0, 1]]) == pytest.approx((17 / 4, 6))
    assert found([[3e-200, 0, 0], [0, 1e-200, 0]]) == pytest.approx((2e-200, 3))
    assert found([[1.0, 1], [1, 1]]) == pytest.approx((1, math.inf))
    assert found([[0.0, 0], [0, 0]]) == (0, math.inf)
    mean, condition = found([[math.inf, 0], [0, 1]])
    assert math.isnan(mean)
    assert math.isnan(condition)


def test_gradient_ratio_in_closed_form():
    # A linear chain 1 - w - v on one sample: dL/dw = g v x, dL/dv = g w x, with the biases' g v and g.
    def layer(gradient, bias_gradient):
        one = torch.tensor([[[1.0]]], dtype=torch.float64)
        return LayerState("l", None, one, one[..., 0], one * gradient, one[..., 0] * bias_gradient, None, None)

    snapshot = Snapshot([layer(3.0, 4.0), layer(0.0, 10.0)], torch.ones(1, dtype=torch.bool))
    assert float(measure(snapshot, ["signal/gradient_ratio"]).network["signal/gradient_ratio"]) == pytest.approx(0.5)
    tiny = Snapshot([layer(3e-200, 4e-200), layer(0.0, 10e-200)], torch.ones(1, dtype=torch.bool))
    assert float(measure(tiny, ["signal/gradient_ratio"]).network["signal/gradient_ratio"]) == pytest.approx(0.5)


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
    with reproducible():
        found, expected = (measure(take_snapshot(s, layers, x, y), tuple(PROBES)).network for s in (both, alone))
    for name, values in found.items():
        assert math.isnan(float(values[0])), name
        assert float(values[1]) == float(expected[name][0]), name


@pytest.mark.parametrize("rows", [32, 21])
@pytest.mark.parametrize("name", [n for n in sorted(NETWORKS) if slot_independent(build(n, 13, 3))])
def test_values_are_the_same_to_the_last_bit_whatever_shares_the_stack(name, rows, wine64):
    module = build(name, 13, 3)
    x, y = wine64.x_train[:rows].float(), wine64.y_train[:rows]
    layers = trace_layers(module, x[:2])
    specs = [InitSpec(w, s) for w in ("he_normal", "tied", "orthogonal", "row_tied") for s in (0.3, 2.0)]
    starts = [initial_parameters(module, spec, seed) for seed, spec in enumerate(specs)]
    with reproducible():
        together, *alone = (
            measure(
                take_snapshot(Stack(module, states, torch.float32, 64), layers, x, y, jacobian=True), tuple(PROBES)
            ).values
            for states in (starts, *([start] for start in starts))
        )
    for i, values in enumerate(alone):
        torch.testing.assert_close(together[:, i], values[:, 0], rtol=0, atol=0, equal_nan=True)


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
