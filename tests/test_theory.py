"""Mean-field figures against published numbers, closed forms and slow integrals."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import dblquad, quad
from scipy.special import erf

from pipeline.init import WEIGHTS, Slot
from pipeline.theory import (
    NONLINEARITIES,
    SCHEME_VARIANCES,
    MeanField,
    critical_sigma_w2,
    scheme_sigma_w2,
    variance_profile,
)
from pipeline.theory.expectations import expect, expect_pair

NAMES = sorted(NONLINEARITIES)


def density(z: float) -> float:
    return math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def slow(f, q: float) -> float:
    """E[f(sqrt(q) z)] by adaptive quadrature on either side of 0, in pieces."""
    edges = [0, 0.01, 0.1, 0.5, 1, 2, 4, 8, 14]
    total = 0.0
    for sign in (1, -1):
        for a, b in pairwise(edges):
            g = lambda z, s=sign: density(z) * float(f(np.array([s * math.sqrt(q) * z]))[0])  # noqa: E731
            total += quad(g, a, b, epsabs=1e-13, epsrel=1e-12)[0]
    return total


@pytest.mark.parametrize("q", [1e-4, 0.3, 1.0, 9.0, 100.0])
@pytest.mark.parametrize("name", NAMES)
def test_expectations_to_1e_8(name, q):
    phi = NONLINEARITIES[name]
    for f in (lambda u: phi.value(u) ** 2, lambda u: phi.slope(u) ** 2, lambda u: phi.second(u) * phi.value(u)):
        expected = slow(f, q)
        assert expect(f, q, phi.kinked) == pytest.approx(expected, abs=1e-8 * max(1, abs(expected)))


@pytest.mark.parametrize("c", [-0.9, 0.0, 0.5, 0.99, 0.999999])
@pytest.mark.parametrize("q", [0.1, 1.0, 16.0])
def test_pair_expectations_in_closed_form(q, c):
    # Williams 1997: E[erf erf]; Cho & Saul 2009: the arc-cosine kernels of order 0 and 1.
    rho = 2 * q / (1 + 2 * q)
    f = NONLINEARITIES["erf"].value
    assert expect_pair(f, f, q, c) == pytest.approx(2 / math.pi * math.asin(rho * c), abs=1e-8)
    angle = math.acos(c)
    relu = NONLINEARITIES["relu"]
    kernel = q * (math.sin(angle) + (math.pi - angle) * c) / (2 * math.pi)
    assert expect_pair(relu.value, relu.value, q, c, kinked=True) == pytest.approx(kernel, abs=1e-8 * max(1, q))
    step = (math.pi - angle) / (2 * math.pi)
    assert expect_pair(relu.slope, relu.slope, q, c, kinked=True) == pytest.approx(step, abs=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_pair_expectations_against_adaptive_quadrature(name):
    phi, q, c = NONLINEARITIES[name], 1.7, 0.6
    s = math.sqrt(1 - c * c)

    def integrand(y: float, x: float) -> float:
        u1, u2 = math.sqrt(q) * x, math.sqrt(q) * (c * x + s * y)
        return density(x) * density(y) * float(phi.value(np.array([u1]))[0] * phi.value(np.array([u2]))[0])

    pieces = [(-8, 0), (0, 8)]
    split = lambda x: -c * x / s  # noqa: E731
    expected = sum(
        dblquad(integrand, a, b, low, high, epsabs=1e-9)[0]
        for a, b in pieces
        for low, high in ((lambda _: -8.0, split), (split, lambda _: 8.0))
    )
    assert expect_pair(phi.value, phi.value, q, c, phi.kinked) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("name", NAMES)
def test_derivatives(name):
    phi = NONLINEARITIES[name]
    x = np.concatenate([np.linspace(-6, -0.01, 300), np.linspace(0.01, 6, 300)])
    h = 1e-6
    np.testing.assert_allclose(phi.slope(x), (phi.value(x + h) - phi.value(x - h)) / (2 * h), atol=1e-8)
    np.testing.assert_allclose(phi.second(x), (phi.slope(x + h) - phi.slope(x - h)) / (2 * h), atol=1e-8)


def test_the_critical_line_of_tanh():
    # Schoenholz et al. 2017, fig. 4: sigma_w^2 = 1.76 at sigma_b^2 = 0.05.
    found = critical_sigma_w2("tanh", 0.05)
    assert found == pytest.approx(1.7610, abs=5e-5)
    assert MeanField("tanh", found, 0.05).q_star == pytest.approx(0.570, abs=5e-4)
    assert critical_sigma_w2("tanh", 2.01e-5) == pytest.approx(1.0500, abs=5e-5)
    assert critical_sigma_w2("tanh", 0) == 1


@pytest.mark.parametrize(("sigma_w2", "limit"), [(1.0, 22), (1.5, 95), (2.5, 71)])
def test_six_correlation_lengths_of_tanh(sigma_w2, limit):
    assert round(MeanField("tanh", sigma_w2, 0.05).depth_limit) == limit


@pytest.mark.parametrize(("name", "expected"), [("relu", 2.0), ("erf", math.pi / 4), ("tanh", 1.0), ("softsign", 1.0)])
def test_critical_points_without_biases(name, expected):
    assert critical_sigma_w2(name, 0.0) == pytest.approx(expected, rel=1e-12)


def test_relu_is_critical_at_2_and_0():
    point = MeanField("relu", 2.0, 0.0)
    assert point.chi_1 == pytest.approx(1, abs=1e-12)
    assert point.q_star == 1  # any variance stays; a unit one is meant
    assert MeanField("relu", 1.0, 0.5).q_star == pytest.approx(1.0)
    assert math.isinf(MeanField("relu", 2.1, 0.0).q_star)
    assert MeanField("relu", 1.9, 0.0).q_star == 0


@pytest.mark.parametrize("name", ["tanh", "erf", "sigmoid", "softsign"])
@pytest.mark.parametrize("sigma_b2", [0.001, 0.05, 1.0])
def test_chi_is_1_on_the_critical_line(name, sigma_b2):
    found = critical_sigma_w2(name, sigma_b2)
    assert MeanField(name, found, sigma_b2).chi_1 == pytest.approx(1, abs=1e-9)
    assert MeanField(name, 0.9 * found, sigma_b2).chi_1 < 1 < MeanField(name, 1.1 * found, sigma_b2).chi_1


@pytest.mark.parametrize(("sigma_w2", "sigma_b2"), [(0.5, 0.1), (1.7, 0.05), (4.0, 0.2), (60.0, 0.0)])
def test_erf_against_its_closed_forms(sigma_w2, sigma_b2):
    point = MeanField("erf", sigma_w2, sigma_b2)
    q = point.q_star
    assert q == pytest.approx(sigma_w2 * 2 / math.pi * math.asin(2 * q / (1 + 2 * q)) + sigma_b2, rel=1e-10)
    assert point.chi_1 == pytest.approx(sigma_w2 * 4 / (math.pi * math.sqrt(1 + 4 * q)), rel=1e-8)
    if point.c_star < 1:
        c = point.c_star
        assert c == pytest.approx(
            (sigma_w2 * 2 / math.pi * math.asin(2 * q * c / (1 + 2 * q)) + sigma_b2) / q, abs=1e-9
        )
        slope = sigma_w2 * 4 / (math.pi * math.sqrt((1 + 2 * q) ** 2 - (2 * q * c) ** 2))
        assert point.xi_c == pytest.approx(-1 / math.log(slope), rel=1e-6)


def test_depth_scales_are_what_iterating_the_maps_shows():
    point = MeanField("tanh", 1.5, 0.05)
    q = [0.9 * point.q_star]
    c = [0.99]
    for _ in range(10):
        q.append(point.variance_map(q[-1]))
    for _ in range(60):
        c.append(point.correlation_map(c[-1]))
    q_rate = (point.q_star - q[-1]) / (point.q_star - q[-2])
    assert point.xi_q == pytest.approx(-1 / math.log(q_rate), rel=1e-3)
    c_rate = (1 - c[-1]) / (1 - c[-2])
    assert point.xi_c == pytest.approx(-1 / math.log(c_rate), rel=0.002)


def test_the_variance_map_is_what_a_wide_random_network_does():
    rng = np.random.default_rng(0)
    point = MeanField("tanh", 1.5, 0.3)
    width, h = 3000, rng.normal(0, 1, 3000)
    for _ in range(3):
        expected = point.variance_map(float((h**2).mean()))
        h = rng.normal(0, math.sqrt(1.5 / width), (width, width)) @ np.tanh(h) + rng.normal(0, math.sqrt(0.3), width)
        assert float((h**2).mean()) == pytest.approx(expected, rel=0.1)


def test_gelu_without_biases_has_no_edge():
    assert critical_sigma_w2("gelu", 0.0) is None
    found = critical_sigma_w2("gelu", 1.0)
    assert MeanField("gelu", found, 1.0).chi_1 == pytest.approx(1, abs=1e-6)
    assert float(erf(0)) == 0


@pytest.mark.parametrize("scheme", sorted(SCHEME_VARIANCES))
def test_scheme_variances_are_those_of_the_schemes(scheme):
    for n_out, n_in in ((300, 200), (150, 400)):
        slot = Slot((n_out, n_in), "hidden", 3, "w")
        sampled = n_in * float(WEIGHTS[scheme].sample(slot).square().mean())
        assert sampled == pytest.approx(scheme_sigma_w2(scheme, n_in, n_out), rel=0.02)
    assert scheme_sigma_w2(scheme, 7, 7, scale=3.0) == pytest.approx(9 * scheme_sigma_w2(scheme, 7, 7))


def test_known_variance_factors():
    assert scheme_sigma_w2("pytorch", 50, 50) == pytest.approx(1 / 3)  # n Var(U(+-1/sqrt n))
    assert scheme_sigma_w2("glorot_uniform", 100, 300) == pytest.approx(0.5)
    # He: half of a unit variance passes ReLU, and twice that is put back; nothing changes on the way back.
    he = variance_profile("relu", scheme_sigma_w2("he_normal", 64, 64), 0.0, depth=50)
    assert [layer.q for layer in he] == pytest.approx([2.0] * 50)
    assert [layer.backward for layer in he] == pytest.approx([1.0] * 50)
    # torch's default loses a factor of six a layer.
    default = variance_profile("relu", scheme_sigma_w2("pytorch", 64, 64), 0.0, depth=4)
    assert [layer.q for layer in default] == pytest.approx([1 / 3 / 6**i for i in range(4)])


def test_the_variance_map_against_a_wide_network():
    generator = torch.Generator().manual_seed(0)
    width = 3000
    a = torch.randn(width, generator=generator, dtype=torch.float64)
    a = a / a.square().mean().sqrt()
    for layer in variance_profile("tanh", 1.5, 0.1, depth=4):
        weight = torch.randn(width, width, generator=generator, dtype=torch.float64) * math.sqrt(1.5 / width)
        z = weight @ a + math.sqrt(0.1) * torch.randn(width, generator=generator, dtype=torch.float64)
        a = torch.tanh(z)
        assert float(z.square().mean()) == pytest.approx(layer.q, rel=0.1)
        assert 1.5 * float((1 - a.square()).square().mean()) == pytest.approx(layer.backward, rel=0.1)


def test_the_variance_map_ends_at_its_fixed_point():
    point = MeanField("tanh", 1.7610, 0.05)
    assert variance_profile("tanh", 1.7610, 0.05, depth=60)[-1].q == pytest.approx(point.q_star, abs=1e-6)


def test_relu_below_its_critical_point_has_a_depth_scale():
    point = MeanField("relu", 1 / 3, 0.0)
    assert point.q_star == 0
    assert point.chi_1 == pytest.approx(1 / 6)
    assert point.xi_c == pytest.approx(1 / math.log(6))
