"""The signs a verdict rests on, each against one network by hand."""

import math

import pytest
import torch
from networks import build
from torch import nn

from pipeline.init import InitSpec, initial_parameters
from pipeline.layers import trace_layers
from pipeline.models import MLP
from pipeline.stack import Stack
from pipeline.verdict import read_signs
from pipeline.verdict.growth import first_change


@pytest.mark.parametrize("name", ["mlp-tanh", "mlp-relu", "residual", "convolutional", "cnn", "batchnorm"])
def test_signs_against_one_network_by_hand(name, wine64):
    module = build(name, 13, 3).double()
    layers = trace_layers(module, wine64.x_train[:2])
    starts = [initial_parameters(module, InitSpec("he_normal", bias="normal", value=0.3), seed) for seed in range(3)]
    x, y = wine64.x_train[:32], wine64.y_train[:32]
    found = read_signs(Stack(module, starts, torch.float64, 64), layers, x, y, 3)[1]
    module.load_state_dict(starts[1], strict=False)
    module.eval()
    residual = nn.functional.one_hot(y, 3).double()
    residual -= residual.mean(0)
    (-(residual * module(x)).sum() / 32).backward()
    weights = [module.get_parameter(layer.weight) for layer in layers]
    assert found.label_gradients == pytest.approx([float(w.grad.norm()) for w in weights])
    flat = [w.detach().flatten(1) for w in weights]
    assert found.strengths == pytest.approx([float(w.norm()) / math.sqrt(min(w.shape)) for w in flat])
    assert found.label_signal == pytest.approx(float((x.T @ residual).norm()) / 32)
    assert found.chain == name.startswith("mlp")
    assert found.sequential == (name not in ("residual", "batchnorm"))
    assert found.reached == len(layers)
    assert found.finite


def test_slopes_flat_units_and_variances_by_hand(wine64):
    module = MLP((13,), 3, 2, 7).double()
    start = initial_parameters(module, InitSpec("normal", 0.7, "constant", 0.4), 0)
    x, y = wine64.x_train[:32], wine64.y_train[:32]
    layers = trace_layers(module, x[:2])
    (found,) = read_signs(Stack(module, [start], torch.float64, 64), layers, x, y, 3)
    z = x @ start["layers.1.weight"].T + 0.4
    z2 = torch.tanh(z) @ start["layers.3.weight"].T + 0.4
    slopes = [1 - torch.tanh(v) ** 2 for v in (z, z2)]
    assert found.slopes == pytest.approx([float(s.mean()) for s in slopes])
    assert found.flat == pytest.approx(float((torch.stack(slopes) < 0.1).double().mean()))
    assert found.sigma_w2 == pytest.approx(7 * float(start["layers.3.weight"].square().mean()))
    assert found.sigma_b2 == pytest.approx(0.16)
    assert found.widths == (7, 7)
    assert found.depth == 2


def test_first_change_is_what_a_small_step_does():
    module = MLP((13,), 3, 1, 8).double()
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(32, 13, generator=g, dtype=torch.float64), torch.arange(32) % 3
    start = initial_parameters(module, InitSpec("glorot_normal"), 0)
    layers = trace_layers(module, x[:2])
    (found,) = read_signs(Stack(module, [start], torch.float64, 64), layers, x, y, 3)
    residual = nn.functional.one_hot(y, 3).double()
    residual -= residual.mean(0)
    module.load_state_dict(start)
    loss = -(residual * module(x)).sum() / 32
    loss.backward()
    rate = 1e-6
    with torch.no_grad():
        for layer in layers:
            weight = module.get_parameter(layer.weight)
            weight -= rate * weight.grad
        after = -(residual * module(x)).sum() / 32
    assert first_change(found, rate) == pytest.approx(float((loss - after).detach()), rel=1e-3)


def test_what_is_frozen_gets_no_gradient(wine64):
    module = MLP((13,), 3, 2, 7).double()
    module.layers[5].weight.requires_grad_(False)
    starts = [initial_parameters(module, InitSpec("glorot_normal"), 0)]
    layers = trace_layers(module, wine64.x_train[:2])
    stack = Stack(module, starts, torch.float64, 64)
    (found,) = read_signs(stack, layers, wine64.x_train[:32], wine64.y_train[:32], 3)
    assert found.reached == 2
    assert found.label_gradients[2] == 0 < found.label_gradients[1]


def test_batch_normalisation_is_seen(wine64):
    module = build("batchnorm", 13, 3).double()
    start = initial_parameters(module, InitSpec("he_normal"), 0)
    layers = trace_layers(module, wine64.x_train[:2])
    stack = Stack(module, [start], torch.float64, 64)
    (found,) = read_signs(stack, layers, wine64.x_train[:32], wine64.y_train[:32], 3)
    assert found.normalised
