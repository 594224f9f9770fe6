"""The critical line and the depth lines over a range of biases, against the exact theory and wide networks."""

import math

import numpy as np
import pytest

from pipeline.theory import NONLINEARITIES, Biases, MeanField, critical_line, critical_sigma_w2, depth_lines

SPREADS = np.array([0.0, 0.05, 0.3, 0.8])


def random(variances):
    return Biases(np.asarray(variances, dtype=float), np.zeros(len(variances)))


@pytest.mark.parametrize("activation", ["tanh", "erf", "softsign"])
def test_under_random_biases_the_critical_line_is_the_exact_one(activation):
    found = critical_line(activation, random(SPREADS), 1e-3, 1e2)
    expected = [critical_sigma_w2(activation, b) for b in SPREADS]
    assert found[1:] == pytest.approx(expected[1:], rel=0.03)
    assert found[0] == pytest.approx(expected[0], rel=0.06)  # where the variance settles slowest


@pytest.mark.parametrize("depth", [20, 100])
def test_on_the_depth_lines_six_correlation_lengths_are_the_depth(depth):
    critical, below, above = depth_lines("tanh", random(SPREADS[1:]), depth, 1e-3, 1e2)
    assert np.all(below < critical)
    assert np.all(critical < above)
    for own, b in [*zip(below, SPREADS[1:], strict=True), *zip(above, SPREADS[1:], strict=True)]:
        assert MeanField("tanh", own, b).depth_limit == pytest.approx(depth, rel=0.03)


def test_a_chaotic_tanh_network_of_a_few_layers_trains_at_any_scale():
    """As the weights grow tanh becomes the sign, whose correlation map has a slope of 2 / pi: 6 xi_c is 13."""
    _, below, above = depth_lines("tanh", random([0.01]), 8, 1e-3, 1e2)
    assert np.isfinite(below).all()
    assert np.isnan(above).all()


def test_what_is_not_between_the_bounds_is_not_a_line():
    critical, below, above = depth_lines("tanh", random([0.05]), 5, 1e-3, 1.2)
    assert np.isnan(critical).all()
    assert np.isnan(above).all()
    assert not np.isnan(below).any()


@pytest.mark.parametrize("activation", ["tanh", "relu", "gelu"])
@pytest.mark.parametrize("bias", [0.4, -1.0])
def test_under_constant_biases_a_wide_network_is_critical_there(activation, bias):
    """By hand: layers of 1,500 units, whose pre-activations all have mean ``bias``."""
    (sigma_w2,) = critical_line(activation, Biases(np.zeros(1), np.array([bias])), 1e-3, 1e2)
    if np.isnan(sigma_w2):
        pytest.skip(f"{activation} has no critical point at a bias of {bias}")
    rng = np.random.default_rng(0)
    n, phi = 1500, NONLINEARITIES[activation]
    h = rng.normal(size=n)
    for _ in range(15):
        z = rng.normal(0, math.sqrt(sigma_w2 / n), (n, n)) @ h + bias
        h = phi.value(z)
    assert sigma_w2 * (phi.slope(z) ** 2).mean() == pytest.approx(1, rel=0.1)
