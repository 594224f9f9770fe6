"""Symmetry settled before training, against what training does."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.init import InitSpec, initial_parameters
from pipeline.models import MLP
from pipeline.symmetry import LayerWeights, find_symmetry, reached


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
