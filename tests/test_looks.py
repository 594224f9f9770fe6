"""The kernels that look at layers, against the general way and closed forms."""

import math

import numpy as np
import pytest
import torch
from networks import fit_data, looked

from pipeline import native
from pipeline.activations import ACTIVATIONS
from pipeline.device import reproducible
from pipeline.execution import NativeStack
from pipeline.init import BIASES, WEIGHTS, InitSpec, initial_parameters
from pipeline.layers import trace_layers
from pipeline.models import MLP
from pipeline.probes import PROBES, measure, needs_signals, snapshot_of, take_snapshot
from pipeline.probes.look import sought
from pipeline.stack import Pass
from pipeline.ties import _equal

SPECS = [InitSpec(w, s, b, 0.3) for w in sorted(WEIGHTS) for b in sorted(BIASES)[:2] for s in (0.5, 3.0)]


def native_stack(activation: str, width: int, states: list[dict[str, torch.Tensor]]):
    module = MLP((13,), 3, 2, width, activation)
    layers = trace_layers(module, torch.zeros(2, 13))
    stack = NativeStack(module, states, torch.float32, None)
    stack.bind(layers)
    return stack, layers


def starts(activation: str, width: int) -> list[dict[str, torch.Tensor]]:
    module = MLP((13,), 3, 2, width, activation)
    return [initial_parameters(module, spec, seed, fit_data()) for seed, spec in enumerate(SPECS)]


@pytest.mark.parametrize("width", [1, 7, 33])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_probes_by_kernels_are_those_of_torch(activation, width, wine64):
    """Of one and the same pass."""
    stack, layers = native_stack(activation, width, starts(activation, width))
    with reproducible():
        wanted = [sought(layer.activation, 64) for layer in layers if layer.hidden]
        passed = stack.passed(wine64.x_train[:64].float(), wine64.y_train[:64], wanted)
        plain = Pass(passed.gradients, passed.signals)
        mine, its = (measure(snapshot_of(stack, layers, way), tuple(PROBES)) for way in (passed, plain))
    assert (mine.of_network, mine.of_layers) == (its.of_network, its.of_layers)
    for name, found, expected in zip([*mine.of_network, *mine.of_layers], mine.values, its.values, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6, equal_nan=True, msg=str(name))


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_what_needs_no_signals_is_the_same_without_them(activation, wine64):
    stack, layers = native_stack(activation, 8, starts(activation, 8))
    probes = [name for name in PROBES if not needs_signals([name])]
    x, y = wine64.x_train[:64].float(), wine64.y_train[:64]
    kept, bare = (take_snapshot(stack, layers, x, y, signals=way) for way in (True, False))
    assert all(layer.z is layer.a is None for layer in bare.layers)
    torch.testing.assert_close(
        measure(bare, probes).values, measure(kept, probes).values, rtol=0, atol=0, equal_nan=True
    )
    assert bool((measure(bare, probes).network["redundancy/functional_width"] < 1).any())
    for layer in bare.hidden:
        slopes = ACTIVATIONS[activation].slope(kept.layers[bare.layers.index(layer)].z.double()).mean(1)
        torch.testing.assert_close(layer.mean_slope, slopes, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("samples", [32, 50, 256])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_a_look_by_kernels_is_that_of_torch(activation, samples):
    """On the same signals: counts to the last sample, sums to the precision of float32."""
    g = torch.Generator().manual_seed(samples)
    z = 2 * torch.randn(5, samples, 19, generator=g) * torch.logspace(-20, 15, 19)
    z[0, :, 3], z[1] = 0.0, 0.0
    a = ACTIVATIONS[activation].module()(z)
    mine, its = (looked(z, a, activation, way) for way in (True, False))
    assert mine.above.keys() == its.above.keys()
    for threshold, count in its.above.items():
        assert torch.equal(mine.above[threshold], count)
    for name in ("low", "high"):
        assert torch.equal(getattr(mine, name), getattr(its, name))
    size = torch.maximum(-its.low, its.high)
    for name, scale in (("mean", size), ("mean_size", size), ("variance", size**2)):
        assert ((getattr(mine, name) - getattr(its, name)).abs() <= 1e-6 * scale).all(), name
    torch.testing.assert_close(mine.mean_away, its.mean_away, rtol=1e-6, atol=1e-30)


def matrices(n: int, d: int) -> list[np.ndarray]:
    rng = np.random.default_rng(n)
    found = [rng.normal(size=(n, d)) * 10.0**k for k in (-38, -3, 0, 0, 37)]
    found += [np.ones((n, d)), np.zeros((n, d)), np.eye(n, d), np.outer(rng.normal(size=n), rng.normal(size=d))]
    found += [np.diag(10.0 ** -np.arange(n)) @ rng.normal(size=(n, d)), np.tile(rng.normal(size=(1, d)), (n, 1))]
    return [*found, np.linalg.qr(rng.normal(size=(max(n, d), min(n, d))))[0].reshape(n, d)]


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (3, 2), (2, 9), (8, 8), (31, 17), (17, 31), (64, 64), (70, 130)])
def test_singular_values_against_lapack(shape):
    members = np.stack(matrices(*shape)).astype(np.float32)
    found = native.singular_values(torch.tensor(members)).numpy()
    for i, (values, matrix) in enumerate(zip(found, members.astype(np.float64), strict=True)):
        expected = np.linalg.svd(matrix / (np.abs(matrix).max() or 1.0), compute_uv=False)[::-1]
        np.testing.assert_allclose(values, expected, atol=3e-7 * expected.max(), rtol=0, err_msg=str(i))
        np.testing.assert_allclose(values[-1], expected[-1], rtol=1e-13, err_msg=str(i))
    assert (found[6] == 0).all()


def test_a_matrix_has_the_same_singular_values_in_any_company():
    rng = np.random.default_rng(4)
    members = torch.tensor(np.concatenate([matrices(12, 20), rng.normal(size=(61, 12, 20))]), dtype=torch.float32)
    alone = [native.singular_values(members[i : i + 1])[0] for i in range(len(members))]
    for count in (2, 9, 17, 31, 33, len(members)):  # which fill vectors and groups of them, or don't
        for values, own in zip(native.singular_values(members[:count]), alone, strict=False):
            assert torch.equal(values, own)


def test_cosines_in_closed_form():
    rows = torch.tensor([[[1.0, 0], [1, 1], [0, 0]], [[1e30, 0], [-1e-30, 0], [1, 0]]])
    sums, zeros = native.sum_cosines(rows)
    assert sums.tolist() == pytest.approx([2 * math.sqrt(0.5), 6])
    assert zeros.tolist() == [1, 0]


@pytest.mark.parametrize("shape", [(3, 1), (2, 5, 7), (4, 16, 16)])
def test_sums_against_numpy(shape):
    rng = np.random.default_rng(0)
    x, y = (torch.tensor(rng.normal(3, 1, size=shape), dtype=torch.float32) for _ in range(2))
    x[0] *= 1e-30
    exact, before = x.double().flatten(1).numpy(), (y.double() - x.double()).flatten(1).numpy()
    squares, variance = native.sums(x)
    np.testing.assert_allclose(squares, (exact**2).sum(1), rtol=1e-13)
    np.testing.assert_allclose(variance, exact.var(1), rtol=1e-12)
    moved, size = native.sums_of_change(x, y)
    np.testing.assert_allclose(moved, (exact**2).sum(1), rtol=1e-13)
    np.testing.assert_allclose(size, (before**2).sum(1), rtol=1e-13)


@pytest.mark.parametrize("width", [7, 16])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_values_are_the_same_to_the_last_bit_whatever_shares_the_stack(activation, width, wine64):
    states = starts(activation, width)[::3]
    x, y = wine64.x_train[:32].float(), wine64.y_train[:32]

    def values(chosen: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        stack, layers = native_stack(activation, width, chosen)
        return measure(take_snapshot(stack, layers, x, y, jacobian=True), tuple(PROBES)).values

    with reproducible():
        together = values(states)
        for i, state in enumerate(states):
            torch.testing.assert_close(values([state])[:, 0], together[:, i], rtol=0, atol=0, equal_nan=True)


def test_a_diverged_member_measures_nan_and_spoils_nobody(wine64):
    states = starts("tanh", 6)[:2]
    states[0]["layers.1.weight"][0, 0] = math.inf
    stack, layers = native_stack("tanh", 6, states)
    x, y = wine64.x_train[:32].float(), wine64.y_train[:32]
    found = measure(take_snapshot(stack, layers, x, y), tuple(PROBES)).values
    assert found[:, 0].isnan().all()
    assert found[:, 1].isfinite().all()


def test_rows_are_equal_number_by_number():
    """Also where they are NaN, and 0 of either sign; against the general way."""
    generator = torch.Generator().manual_seed(3)
    values = torch.tensor([0.0, -0.0, 1.0, math.nan, math.inf])
    rows = values[torch.randint(5, (6, 40, 3), generator=generator)]
    pairs = torch.stack([torch.randint(n, (5000,), generator=generator) for n in (6, 40, 40)])
    equal = native.rows_equal(rows, pairs)
    assert 0 < equal.sum() < 5000
    expected = [np.array_equal(rows[m, i], rows[m, j], equal_nan=True) for m, i, j in pairs.T.tolist()]
    assert equal.tolist() == _equal(rows, pairs).tolist() == expected
