import math

import oracles
import pytest
import torch

from pipeline.activations import ACTIVATIONS, activation_of

NAMES = sorted(ACTIVATIONS)
GRID = torch.linspace(-12, 12, 2401, dtype=torch.float64)


@pytest.mark.parametrize("name", NAMES)
def test_slope_is_the_derivative_of_the_module(name):
    activation = ACTIVATIONS[name]
    z = GRID.clone().requires_grad_()
    (expected,) = torch.autograd.grad(activation.module()(z).sum(), z)
    torch.testing.assert_close(activation.slope(GRID), expected, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_slopes_at_the_ends_of_flat_intervals(name):
    activation = ACTIVATIONS[name]
    largest = float(activation.slope(torch.linspace(-10, 10, 2_000_001, dtype=torch.float64)).abs().max())
    assert largest == pytest.approx(oracles.MAX_SLOPE[name], abs=1e-9)
    ends = torch.tensor([z for ends in activation.flat_where for z in ends if math.isfinite(z)], dtype=torch.float64)
    if name == "relu":  # which jumps
        assert ends.tolist() == [0]
    else:
        slopes = activation.slope(ends).abs()
        torch.testing.assert_close(slopes, torch.full_like(slopes, 0.1 * oracles.MAX_SLOPE[name]), atol=1e-14, rtol=0)


def test_small_slopes_keep_their_digits():
    z = torch.tensor([-40.0, 15.0, 40.0])
    torch.testing.assert_close(ACTIVATIONS["sigmoid"].slope(z), torch.exp(-z.abs()), atol=0, rtol=1e-5)
    torch.testing.assert_close(ACTIVATIONS["tanh"].slope(z), 4 * torch.exp(-2 * z.abs()), atol=0, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_flat_and_linear_agree_with_their_definitions(name):
    activation = ACTIVATIONS[name]
    z = GRID[::10] + 0.003
    assert activation.flat(z).tolist() == [oracles.flat(name, float(v)) for v in z]
    assert activation.linear(z).tolist() == [oracles.linear(name, float(v)) for v in z]


def test_tanh_thresholds_in_closed_form():
    flat_from = math.acosh(math.sqrt(10))  # sech^2 z = 0.1
    z = torch.tensor([flat_from - 1e-6, flat_from + 1e-6], dtype=torch.float64)
    assert ACTIVATIONS["tanh"].flat(z).tolist() == [False, True]
    edge = ACTIVATIONS["tanh"].linear_where[0][1]
    assert math.tanh(edge) / edge == pytest.approx(0.95, abs=1e-15)


def test_zero_is_linear_for_smooth_and_flat_for_relu():
    zero = torch.zeros(1)
    assert bool(ACTIVATIONS["tanh"].linear(zero))
    assert not bool(ACTIVATIONS["relu"].linear(zero))
    assert bool(ACTIVATIONS["relu"].flat(zero))


def test_unknown_modules_are_no_activation():
    assert activation_of(torch.nn.Linear(2, 2)) is None
    assert activation_of(torch.nn.Tanh()) is ACTIVATIONS["tanh"]
