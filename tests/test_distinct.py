"""Members that are settled at a glance, against the ways that look at one after the other."""

import numpy as np
import pytest
import torch

from pipeline.activations import ACTIVATIONS
from pipeline.distinct import surely_distinct
from pipeline.layers import trace_layers
from pipeline.models import MLP
from pipeline.stack import Stack
from pipeline.symmetry import chain_prediction, chain_symmetry, find_symmetry, predict, stack_symmetry
from pipeline.symmetry.chain import chain_weights
from pipeline.symmetry.motion import constant_units, quotient
from pipeline.ties import NEVER, TieClock

INPUTS, WIDTH, CLASSES = 3, 5, 2


def tied(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """A random matrix with, now and then, equal, opposite, zero or small whole rows and columns."""
    matrix = rng.normal(size=(rows, columns)) if rng.random() < 0.8 else rng.integers(-1, 2, (rows, columns)) + 0.0
    for axis in (matrix, matrix.T):
        for _ in range(rng.choice([0, 0, 0, 1, 3])):
            i, j = rng.integers(0, len(axis), 2)
            axis[i] = rng.choice([1.0, 1.0, -1.0, 0.0, -0.0]) * axis[j]
    return matrix


def network(rng: np.random.Generator, depth: int) -> dict[str, torch.Tensor]:
    sizes = [INPUTS, *[WIDTH] * depth, CLASSES]
    found = {}
    for i in range(depth + 1):
        weight = tied(rng, sizes[i + 1], sizes[i])
        bias = rng.choice([0.0, 1.0]) * tied(rng, sizes[i + 1], 1)[:, 0]
        if i < depth and rng.random() < 0.1:  # a neuron and its mirror image
            weight[0], bias[0] = -weight[1], -bias[1]
        found |= {f"layers.{2 * i + 1}.weight": torch.tensor(weight), f"layers.{2 * i + 1}.bias": torch.tensor(bias)}
    if rng.random() < 0.02:
        found["layers.1.bias"][0] = rng.choice([np.nan, np.inf])
    return found


def stack_of(activation: str, depth: int, count: int, dtype: torch.dtype = torch.float32):
    rng = np.random.default_rng(depth)
    module = MLP((INPUTS,), CLASSES, depth, WIDTH, activation)
    sample = torch.zeros(2, INPUTS, dtype=dtype)
    stack = Stack(module, [network(rng, depth) for _ in range(count)], dtype, 64)
    return stack, trace_layers(stack.module, sample), sample


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_surely_distinct_against_a_loop(dtype):
    rng = np.random.default_rng(0)
    members = torch.tensor(np.stack([tied(rng, 6, 4) for _ in range(3000)]), dtype=dtype)
    found = surely_distinct(members).tolist()
    for rows, seen in zip(members.tolist(), found, strict=True):
        keys = {tuple(abs(v) for v in row) for row in rows}
        assert not seen or len(keys) == len(rows)  # never a mistake on this side
        assert seen == (len(keys) == len(rows) and (0.0,) * 4 not in keys)
    assert 500 < sum(found) < 2500


def test_keys_depend_on_every_bit():
    rows = torch.ones(1, 2, 3)
    assert surely_distinct(rows).tolist() == [False]
    rows[0, 1, 2] = float(np.nextafter(np.float32(1), np.float32(2)))
    assert surely_distinct(rows).tolist() == [True]
    rows[0, 1] = -rows[0, 0]
    assert surely_distinct(rows).tolist() == [False]


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_the_symmetry_of_a_stack_is_that_of_each_member(activation, depth):
    stack, layers, sample = stack_of(activation, depth, 300)
    settled = 0
    for i, found in enumerate(stack_symmetry(stack, layers, sample)):
        member = {name: p[i] for name, p in stack.parameters.items()}
        weights = chain_weights(member, layers)
        if not all(np.isfinite(w.weight).all() and np.isfinite(w.bias).all() for w in weights):
            assert found is chain_symmetry(member, layers) is None
            continue
        expected = find_symmetry(weights, odd=ACTIVATIONS[activation].odd)
        for a, b in zip(found.classes + found.signs, expected.classes + expected.signs, strict=True):
            np.testing.assert_array_equal(a, b)
        zero = activation not in ("sigmoid",)
        prediction, constant = chain_prediction(found, layers), constant_units(quotient(expected), zero)
        assert prediction == predict(expected, zero)
        assert prediction.widths == [int((~c).sum()) + bool(c.any()) for c in constant]
        settled += found.trivial
    assert 0 < settled < 300


def twins(keys: list[tuple[float, ...]]) -> list[list[int]]:
    """Each neuron that has an earlier one with the same key, and the first of those."""
    return [[i, keys.index(key)] for i, key in enumerate(keys) if keys.index(key) != i]


def test_the_clock_of_a_stack_starts_as_that_of_each_member():
    stack, layers, sample = stack_of("tanh", 2, 200)
    classes = [found.classes if found else None for found in stack_symmetry(stack, layers, sample)]
    clock = TieClock(stack, layers, classes)
    for i in range(200):
        tied = False
        for n, layer in enumerate(layers[:-1]):
            rows = torch.cat([stack.parameters[layer.weight][i], stack.parameters[layer.bias][i, :, None]], 1)
            keys = [tuple(row) for row in rows.nan_to_num(7.5, 8.5).tolist()]
            expected = twins(keys)
            assert clock.pairs[n][clock.pairs[n][:, 0] == i, 1:].tolist() == expected
            within = [] if classes[i] is None else twins([(*k, c) for k, c in zip(keys, classes[i][n], strict=True)])
            assert clock.lasting[n][clock.lasting[n][:, 0] == i, 1:].tolist() == within
            tied = tied or bool(expected)
        assert clock.broken_step[i] == (NEVER if tied else 0)
    assert 0 < (clock.broken_step == NEVER).sum() < 200
