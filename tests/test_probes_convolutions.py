"""Probes of feature maps: units are channels, positions are samples."""

import math

import numpy as np
import oracles
import pytest
import torch
from torch import nn

from pipeline.init import InitSpec, initial_parameters
from pipeline.layers import trace_layers
from pipeline.models import CNN
from pipeline.probes import PROBES, measure, take_snapshot
from pipeline.probes.snapshot import SAMPLES, sample_step
from pipeline.stack import Stack

ROWS, SIDE = 64, 12


@pytest.mark.parametrize(
    ("rows", "positions", "step"),
    [(256, 784, 51), (256, 196, 13), (256, 64, 5), (256, 16, 1), (100_000, 1, 1), (32, 1024, 9), (5000, 4, 5)],
)
def test_how_many_positions_are_looked_at(rows, positions, step):
    assert sample_step(rows, positions) == step
    seen = [divmod(n, positions) for n in range(0, rows * positions, step)]
    if positions > 1:
        assert len(seen) <= SAMPLES
        assert {row for row, _ in seen} == set(range(rows)) or rows > SAMPLES
    if len(seen) >= positions:
        assert {position for _, position in seen} == set(range(positions))


@pytest.fixture(scope="module")
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(ROWS, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return x, torch.arange(ROWS) % 3


def built(activation: str) -> tuple[CNN, dict[str, torch.Tensor]]:
    """Of conv1's channels 1 copies 0, 2 is 0 turned round, 3 is never positive, 4 and 5 are others.
    conv2 reads 0 and 1 alike, and of its own channels 1 is 0 but for what it reads of channel 5."""
    network = CNN((1, SIDE, SIDE), 3, depth=2, width=6, activation=activation).double()
    state = initial_parameters(network, InitSpec("he_normal"), 0)
    weight, bias = state["layers.conv1.weight"], state["layers.conv1.bias"]
    weight[1], weight[2] = weight[0], -weight[0]
    bias[3] = -100
    reader = state["layers.conv2.weight"]
    reader[:, 1] = reader[:, 0]
    reader[1] = reader[0]
    reader[1, 5] += 1
    return network, state


def found(network: CNN, state: dict[str, torch.Tensor], batch) -> dict[tuple[str, str], float]:
    layers = trace_layers(network, batch[0][:2])
    snapshot = take_snapshot(Stack(network, [state], torch.float64, ROWS), layers, *batch)
    return {key: float(value) for key, value in measure(snapshot, tuple(PROBES)).layers.items()}


def test_channels_in_closed_form(batch):
    of = found(*built("relu"), batch)
    conv1, conv2 = ({p: v for (layer, p), v in of.items() if layer == f"layers.conv{n}"} for n in (1, 2))
    assert conv1["redundancy/effective_width"] == pytest.approx(5 / 6)
    assert conv1["redundancy/row_copies"] == pytest.approx(2 / 6)
    assert conv1["redundancy/column_copies"] == pytest.approx(2 / 6)
    # Equal filters that are read alike get equal gradients; so does no other pair but the dead channel's own 0.
    assert conv1["redundancy/gradient_copies"] == pytest.approx(2 / 6)
    assert conv1["redundancy/functional_width"] == pytest.approx(5 / 6)
    assert conv1["saturation/dead_fraction"] == pytest.approx(1 / 6)
    assert conv1["saturation/dormant_fraction"] == pytest.approx(1 / 6)
    assert conv1["saturation/skewed_fraction"] == pytest.approx(1 / 6)
    assert conv2["redundancy/effective_width"] == 1
    assert conv2["redundancy/column_copies"] == 0


def test_a_channel_turned_round_is_a_functional_copy_under_an_odd_activation(batch):
    of = found(*built("tanh"), batch)
    assert of["layers.conv1", "redundancy/effective_width"] == pytest.approx(5 / 6)
    # 1 and 2 are 0 again, and the constant one stands for itself.
    assert of["layers.conv1", "redundancy/functional_width"] == pytest.approx(4 / 6)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_large_feature_maps_against_slow_oracles_of_every_step_th_position(activation, batch):
    network, state = built(activation)
    of = found(network, state, batch)
    x, _ = batch
    step = sample_step(ROWS, SIDE * SIDE)
    assert step == 5
    maps = nn.functional.conv2d(x, state["layers.conv1.weight"], state["layers.conv1.bias"], padding=1).numpy()
    z = []
    for n in range(ROWS * SIDE * SIDE):
        row, (i, j) = n // SIDE**2, divmod(n % SIDE**2, SIDE)
        if n % step == 0:
            z.append(maps[row, :, i, j])
    z = np.array(z)
    a = np.vectorize(lambda v: oracles.phi(activation, v))(z)
    zeros = np.zeros_like(z[:, 0])
    view = oracles.LayerView(activation, *[zeros] * 5, z, a)
    for probe in (
        "redundancy/functional_width",
        "redundancy/srank",
        "redundancy/participation_ratio",
        "redundancy/cloning_r2",
        "saturation/flat_fraction",
        "saturation/dead_fraction",
        "saturation/linear_fraction",
        "saturation/dormant_fraction",
        "saturation/skewed_fraction",
        "saturation/rakitianskaia_engelbrecht",
        "signal/activation_variance",
    ):
        expected = oracles.LAYER[probe](view)
        assert of.get(("layers.conv1", probe)) == (expected if expected is None else pytest.approx(expected)), probe


def test_ranks_are_those_of_the_matrix_of_filters(batch):
    network, state = built("relu")
    of = found(network, state, batch)
    for layer in ("conv1", "conv2"):
        matrix = state[f"layers.{layer}.weight"].flatten(1).numpy()
        assert of[f"layers.{layer}", "redundancy/effective_rank"] == pytest.approx(oracles.effective_rank(matrix))
        assert of[f"layers.{layer}", "redundancy/row_cosine"] == pytest.approx(oracles.row_cosine(matrix))


def test_the_jacobian_of_a_linear_convolutional_network():
    """Identity filters without pooling to speak of: the logits are sums of what the last layer reads."""
    network = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.Flatten(), nn.Linear(4, 2, bias=False)).double()
    state = {
        "0.weight": torch.zeros(1, 1, 3, 3, dtype=torch.float64),
        "0.bias": torch.zeros(1, dtype=torch.float64),
        "2.weight": torch.tensor([[3.0, 0, 0, 0], [0, 0, 0, 1.0]], dtype=torch.float64),
    }
    state["0.weight"][..., 1, 1] = 2
    x = torch.randn(32, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    layers = trace_layers(network, x[:2])
    snapshot = take_snapshot(
        Stack(network, [state], torch.float64, 32), layers, x, torch.zeros(32).long(), jacobian=True
    )
    values = measure(snapshot, ["signal/jacobian_mean", "signal/jacobian_condition"]).network
    assert float(values["signal/jacobian_mean"]) == pytest.approx(4)
    assert float(values["signal/jacobian_condition"]) == pytest.approx(3)
    assert math.isfinite(float(values["signal/jacobian_condition"]))
