"""Symmetry settled before training, against what training does."""

import numpy as np
import pytest
import torch
from networks import NETWORKS, build
from torch import nn

from pipeline.init import InitSpec, initial_parameters
from pipeline.layers import trace_layers
from pipeline.models import MLP
from pipeline.symmetry import (
    LayerWeights,
    chain_prediction,
    chain_symmetry,
    constant_units,
    find_symmetry,
    is_chain,
    predict,
    quotient,
    reached,
)


def layers_of(parameters: dict[str, torch.Tensor]) -> list[LayerWeights]:
    names = [n.removesuffix(".weight") for n in parameters if n.endswith("weight")]
    return [LayerWeights(parameters[f"{n}.weight"].numpy(), parameters[f"{n}.bias"].numpy()) for n in names]


def start(spec: InitSpec, depth: int = 2, width: int = 6, seed: int = 0) -> list[LayerWeights]:
    return layers_of(initial_parameters(MLP((5,), 3, depth, width), spec, seed))


@pytest.mark.parametrize(
    ("spec", "widths"),
    [
        (InitSpec("zeros"), [1, 1, 1]),
        (InitSpec("constant", bias="constant", value=0.3), [1, 1, 1]),
        (InitSpec("glorot_normal"), [6, 6, 6]),
        # Only the outgoing columns of a layer and the rows above it can tell its neurons apart.
        (InitSpec("row_tied"), [6, 6, 6]),
        (InitSpec("column_tied"), [6, 6, 6]),
        (InitSpec("tied"), [1, 1, 1]),
        (InitSpec("zeros", bias="normal", value=1.0), [6, 6, 6]),
        (InitSpec("constant", bias="uniform", value=1.0), [6, 6, 6]),
    ],
)
def test_the_classes_of_known_starts(spec, widths):
    assert find_symmetry(start(spec, depth=3)).widths == widths


def test_which_tensor_breaks_a_tie():
    biases = find_symmetry(start(InitSpec("zeros", bias="normal", value=1.0), depth=1))
    assert biases.broken_by == [{"rows": 0, "biases": 15, "columns": 0}]
    columns = find_symmetry(start(InitSpec("zeros", weight_layers={"last": ("normal", 1.0)}), depth=1))
    assert columns.broken_by == [{"rows": 0, "biases": 0, "columns": 15}]
    rows = find_symmetry(start(InitSpec("zeros", weight_layers={"first": ("normal", 1.0)}), depth=1))
    assert rows.broken_by == [{"rows": 15, "biases": 0, "columns": 0}]
    none = find_symmetry(start(InitSpec("zeros"), depth=1))
    assert none.broken_by == [{"rows": 0, "biases": 0, "columns": 0}]
    assert none.effective_width == 1 / 6


def test_sums_over_classes_are_enough():
    # The two neurons of layer 1 are copies, so neurons of layer 2 that only swap them are copies too.
    one = LayerWeights(np.array([[1.0, 2.0], [1.0, 2.0]]), np.zeros(2))
    two = LayerWeights(np.array([[0.1, 0.7], [0.7, 0.1]]), np.zeros(2))
    out = LayerWeights(np.array([[0.5, 0.5], [-1.0, -1.0]]), np.zeros(2))
    assert find_symmetry([one, two, out]).widths == [1, 1]
    # A column that sums to something else breaks both.
    uneven = LayerWeights(np.array([[0.1, 0.7], [0.8, 0.1]]), np.zeros(2))
    assert find_symmetry([one, uneven, out]).widths == [2, 2]


def test_minus_zero_is_zero():
    one = LayerWeights(np.array([[0.0], [-0.0]]), np.array([0.0, -0.0]))
    assert find_symmetry([one, LayerWeights(np.array([[0.0, -0.0]]), np.zeros(1))]).widths == [1]


def test_zero_gradients_are_told_apart_from_ties():
    module = MLP((5,), 3, depth=4, width=6).double()
    parameters = initial_parameters(module, InitSpec("zeros", bias="normal", value=1.0), 0)
    module.load_state_dict(parameters)
    x, y = torch.randn(20, 5, dtype=torch.float64), torch.arange(20) % 3
    nn.functional.cross_entropy(module(x), y).backward()
    gradients = [p.grad.numpy() for name, p in module.named_parameters() if name.endswith("weight")]
    assert find_symmetry(layers_of(parameters)).widths == [6, 6, 6, 6]
    assert reached(gradients) == 1
    assert reached([np.zeros(2), np.ones(2), np.ones(2)]) == 2
    assert reached([np.zeros(2)]) == 0


def test_which_tensor_tells_two_neurons_apart():
    one = LayerWeights(np.array([[1.0], [1.0], [1.0]]), np.array([0.0, 0.0, 2.0]))
    found = find_symmetry([one, LayerWeights(np.array([[1.0, 3.0, 3.0]]), np.zeros(1))])
    assert found.tensors_apart(0, 0, 1) == ["columns"]
    assert found.tensors_apart(0, 1, 2) == ["biases"]
    assert found.tensors_apart(0, 0, 2) == ["biases", "columns"]


def test_mirrored_copies_count_for_odd_activations_only():
    one = LayerWeights(np.array([[1.0, 2.0], [-1.0, -2.0], [1.0, 2.0]]), np.array([0.5, -0.5, 0.5]))
    out = LayerWeights(np.array([[3.0, -3.0, 3.0]]), np.zeros(1))
    assert find_symmetry([one, out]).widths == [2]
    found = find_symmetry([one, out], odd=True)
    assert found.widths == [1]
    assert found.signs[0].tolist() == [1, -1, 1]
    # With a column that isn't the negative one, the three are two.
    uneven = LayerWeights(np.array([[3.0, 3.0, 3.0]]), np.zeros(1))
    assert find_symmetry([one, uneven], odd=True).widths == [2]


def test_mirrored_copies_below_make_mirrored_sums_above():
    one = LayerWeights(np.array([[1.0], [-1.0]]), np.array([0.5, -0.5]))
    two = LayerWeights(np.array([[2.0, 1.0], [-1.0, -2.0]]), np.zeros(2))  # 2 h - h and -h + 2 h
    out = LayerWeights(np.array([[1.0, 1.0]]), np.zeros(1))
    assert find_symmetry([one, two, out], odd=True).widths == [1, 1]
    assert find_symmetry([one, two, out]).widths == [2, 2]


def test_a_neuron_that_is_its_own_mirror_image():
    one = LayerWeights(np.array([[0.0], [1.0]]), np.zeros(2))
    found = find_symmetry([one, LayerWeights(np.array([[0.0, 1.0]]), np.zeros(1))], odd=True)
    assert found.signs[0].tolist() == [0, 1]
    assert predict(found, zero_at_zero=True).constant == [1]


@pytest.mark.parametrize("mirrored", [False, True])
def test_mirrored_copies_through_training(mirrored, wine64):
    """Five pairs in each of two layers stay copies up to the sign, under Adam and weight decay."""
    torch.manual_seed(0)
    module = MLP((13,), 3, depth=2, width=10).double()
    flip = torch.tensor([1.0] * 5 + [-1.0 if mirrored else 1.0] * 5, dtype=torch.float64)
    with torch.no_grad():
        for layer in (module.layers[1], module.layers[3]):
            layer.weight[5:], layer.bias[5:] = layer.weight[:5], layer.bias[:5]
            layer.weight.mul_(flip[:, None])
            layer.bias.mul_(flip)
        for layer in (module.layers[3], module.layers[5]):
            layer.weight[:, 5:] = layer.weight[:, :5] * flip[5:]
    found = find_symmetry(layers_of({n: p.detach() for n, p in module.named_parameters()}), odd=True)
    assert found.widths == [5, 5]
    optimizer = torch.optim.Adam(module.parameters(), lr=0.003, weight_decay=0.01)
    for _ in range(50):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(wine64.x_train), wine64.y_train).backward()
        optimizer.step()
    h = module.layers[:5](wine64.x_test).detach()
    torch.testing.assert_close(h[:, 5:], h[:, :5] * flip[5:], atol=1e-9, rtol=0)


def test_the_short_way_finds_what_refinement_finds():
    """Distinct rows make all neurons distinct at once; the long way round says the same."""
    layers = start(InitSpec("glorot_normal"), depth=3)
    assert [c.tolist() for c in find_symmetry(layers, odd=True).classes] == [list(range(6))] * 3
    tied_first = [LayerWeights(np.repeat(layers[0].weight[:3], 2, 0), layers[0].bias), *layers[1:]]
    for odd in (False, True):
        assert find_symmetry(tied_first, odd).widths == [6, 6, 6]
    tied_first[1] = LayerWeights(np.repeat(layers[1].weight[:, :3], 2, 1), layers[1].bias)
    for odd in (False, True):
        assert find_symmetry(tied_first, odd).widths == [3, 6, 6]


def test_the_quotient_computes_the_same_function():
    rng = np.random.default_rng(0)
    one = LayerWeights(rng.normal(size=(3, 4))[[0, 1, 0, 2, 1]], rng.normal(size=3)[[0, 1, 0, 2, 1]])
    two = LayerWeights(rng.normal(size=(6, 3))[:, [0, 1, 0, 2, 1]], rng.normal(size=6))
    out = LayerWeights(rng.normal(size=(2, 6)), np.zeros(2))
    small = quotient(find_symmetry([one, two, out], odd=True))
    assert [layer.weight.shape for layer in small] == [(3, 4), (6, 3), (2, 6)]

    def logits(layers, x):
        for layer in layers[:-1]:
            x = np.tanh(x @ layer.weight.T + layer.bias)
        return x @ layers[-1].weight.T + layers[-1].bias

    x = rng.normal(size=(7, 4))
    np.testing.assert_allclose(logits(small, x), logits([one, two, out], x), atol=1e-12)


@pytest.mark.parametrize(
    ("spec", "zero_at_zero", "constant"),
    [
        (InitSpec("zeros"), True, [6, 6]),  # tanh: h = 0, so no weight ever moves
        (InitSpec("zeros"), False, [0, 0]),  # sigmoid: h = 1/2, so the last layer moves, and then the others
        (InitSpec("zeros", bias="normal", value=1.0), True, [0, 0]),  # likewise
        (InitSpec("zeros", weight_layers={"first": ("normal", 1.0)}), True, [0, 6]),
        # The biases of layer 2 move, but the error never gets through the zeros below them.
        (InitSpec("zeros", weight_layers={"last": ("normal", 1.0)}), True, [6, 6]),
        (InitSpec("glorot_normal"), True, [0, 0]),
    ],
)
def test_units_that_stay_constant_for_ever(spec, zero_at_zero, constant):
    layers = start(spec)
    assert [int(c.sum()) for c in constant_units(layers, zero_at_zero)] == constant
    found = predict(find_symmetry(layers, odd=zero_at_zero), zero_at_zero)
    assert found.constant == constant


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_constant_units_are_constant_after_training(activation, wine64):
    spec = InitSpec("zeros", weight_layers={"first": ("normal", 1.0)})
    module = MLP((13,), 3, 2, 6, activation).double()
    module.load_state_dict(initial_parameters(module, spec, 0))
    found = constant_units(layers_of(initial_parameters(module, spec, 0)), zero_at_zero=activation == "tanh")
    optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(wine64.x_train), wine64.y_train).backward()
        optimizer.step()
    for depth, constant in ((3, found[0]), (5, found[1])):
        h = module.layers[:depth](wine64.x_test).detach()
        assert (h.std(0) == 0).tolist() == constant.tolist()


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_chains_are_told_from_other_networks(name):
    module, x = build(name, 13, 3), torch.randn(4, 13)
    assert is_chain(module, trace_layers(module, x), x) == name.startswith("mlp")


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Sequential(nn.Linear(13, 5, bias=False), nn.Tanh(), nn.Dropout(0.3), nn.Linear(5, 3)), True),
        (nn.Sequential(nn.Linear(13, 5), nn.Tanh(), nn.Linear(5, 5), nn.Linear(5, 3)), False),
        (nn.Sequential(nn.Linear(13, 5), nn.Tanh(), nn.Linear(5, 3), nn.Softmax(-1)), False),
        (nn.Sequential(nn.Linear(13, 5), nn.LayerNorm(5, elementwise_affine=False), nn.Tanh(), nn.Linear(5, 3)), False),
        (nn.Sequential(nn.Linear(13, 3)), False),
    ],
)
def test_chains_of_other_makes(module, expected):
    x = torch.randn(4, 13)
    assert is_chain(module, trace_layers(module, x), x) is expected


def test_frozen_networks_and_those_of_nan_have_no_prediction():
    module, x = MLP((5,), 3), torch.randn(4, 5)
    layers = trace_layers(module, x)
    parameters = initial_parameters(module, InitSpec(), 0)
    found = chain_symmetry(parameters, layers)
    assert chain_prediction(found, layers).width == 1
    parameters["layers.1.bias"][0] = float("nan")
    assert chain_symmetry(parameters, layers) is None
    module.layers[1].weight.requires_grad_(False)
    assert not is_chain(module, layers, x)
