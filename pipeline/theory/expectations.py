"""Gaussian expectations of activations: E[f(u)] and E[f(u1) g(u2)], to about 1e-10.

Smooth functions are integrated by Gauss-Hermite quadrature, with the number of nodes
doubled until two successive values agree. A kink at 0 (ReLU, softsign) or a variance so
large that a smooth function looks like a step defeats it; then the integral is taken
piecewise by Gauss-Legendre, in one dimension on either side of 0, in two dimensions in
polar coordinates, sector by sector between the lines u1 = 0 and u2 = 0.

In two dimensions Mehler's formula makes one of two: with a_k = E[f(sqrt(q) z) h_k(z)], h_k the
normalised Hermite polynomials, E[f(u1) g(u2)] = sum_k c^k a_k b_k.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy.special import roots_hermitenorm, roots_legendre

__all__ = ["Function", "expect", "expect_each", "expect_pair"]

Function = Callable[[np.ndarray], np.ndarray]

TOLERANCE = 1e-11
FIRST_NODES, LAST_NODES = 64, 1024
LAST_PAIR_NODES = 512
# Beyond 12 standard deviations lies less than 1e-31 of the mass.
REACH = 12.0
PANEL_NODES = 24


@lru_cache(maxsize=16)
def _hermite(nodes: int) -> tuple[np.ndarray, np.ndarray]:
    x, w = roots_hermitenorm(nodes)
    return x, w / math.sqrt(2 * math.pi)


@lru_cache(maxsize=16)
def _projection(nodes: int) -> np.ndarray:
    """What makes a function's values at the nodes its first coefficients a_k, ``(nodes, nodes)``."""
    x, w = _hermite(nodes)
    root = np.sqrt(w)
    # The polynomials times the root of the weight, so that neither overflows.
    basis = [root, x * root]
    for k in range(1, nodes - 1):
        basis.append((x * basis[k] - math.sqrt(k) * basis[k - 1]) / math.sqrt(k + 1))
    projection: np.ndarray = np.stack(basis) * root
    return projection


@lru_cache(maxsize=256)
def _panels(scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights on (0, REACH): panels that double from ``1 / scale``, where
    functions of ``scale * z`` bend."""
    first = min(1.0, 1 / scale)
    edges = [0.0]
    while edges[-1] < REACH:
        edges.append(min(REACH, max(first, edges[-1] + min(edges[-1], 1.0))))
    x, w = roots_legendre(PANEL_NODES)
    low, high = np.array(edges[:-1])[:, None], np.array(edges[1:])[:, None]
    return ((high - low) / 2 * x + (high + low) / 2).ravel(), ((high - low) / 2 * w).ravel()


def expect(f: Function, q: float, kinked: bool = False) -> float:
    """E[f(sqrt(q) z)] for z ~ N(0, 1).

    Args:
        f: vectorised.
        q: variance, >= 0.
        kinked: f is smooth except at 0.
    """
    scale = math.sqrt(q)

    def at(nodes: int) -> float:
        x, w = _hermite(nodes)
        return float(np.sum(w * f(scale * x)))

    found = None if kinked else _converged(at, LAST_NODES)
    return found if found is not None else _in_panels(f, scale)


def expect_each(f: Function, q: np.ndarray, kinked: bool = False) -> np.ndarray:
    """``expect`` for each of several variances, ``(n,)``."""
    scale = np.sqrt(q)[:, None]
    rough, fine = ((w * f(scale * x)).sum(1) for x, w in (_hermite(FIRST_NODES), _hermite(2 * FIRST_NODES)))
    settled = (np.abs(fine - rough) <= TOLERANCE * np.maximum(1.0, np.abs(fine))) & (not kinked)
    found: np.ndarray = fine
    found[~settled] = [expect(f, float(own), kinked) for own in q[~settled]]
    return found


def expect_pair(f: Function, g: Function, q: float, c: float, kinked: bool = False) -> float:
    """E[f(u1) g(u2)] for u1, u2 ~ N(0, q) with correlation c.

    Args:
        q: variance, >= 0. c: in [-1, 1].
        kinked: f and g are smooth except at 0.
    """
    scale = math.sqrt(q)

    def at(nodes: int) -> float:
        x, projection = scale * _hermite(nodes)[0], _projection(nodes)
        a = projection @ f(x)
        b = a if g is f else projection @ g(x)
        return float(np.sum(c ** np.arange(nodes) * a * b))

    found = None if kinked else _converged(at, LAST_PAIR_NODES)
    return found if found is not None else _pair_in_sectors(f, g, scale, c)


def _in_panels(f: Function, scale: float) -> float:
    x, w = _panels(max(scale, 1e-3))
    density = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return float(np.sum(w * density * (f(scale * x) + f(-scale * x))))


def _pair_in_sectors(f: Function, g: Function, scale: float, c: float) -> float:
    """In polar coordinates u1 = scale r cos t, u2 = scale r cos(t - a) with cos a = c."""
    angle = math.acos(max(-1.0, min(1.0, c)))
    kinks = sorted({(t + 2 * math.pi) % (2 * math.pi) for t in _kink_angles(angle)})
    r, wr = _panels(max(scale, 1e-3))
    radial = wr * r * np.exp(-0.5 * r * r)
    x, wx = roots_legendre(2 * PANEL_NODES)
    total = 0.0
    for start, end in zip(kinks, [*kinks[1:], kinks[0] + 2 * math.pi], strict=True):
        t = (end - start) / 2 * x + (end + start) / 2
        values = f(scale * r[:, None] * np.cos(t)) * g(scale * r[:, None] * np.cos(t - angle))
        total += (end - start) / 2 * float(radial @ values @ wx)
    return total / (2 * math.pi)


def _kink_angles(angle: float) -> list[float]:
    """Where u1 or u2 vanishes, and half way between, so that sectors stay narrow."""
    zeros = sorted((t + 2 * math.pi) % (2 * math.pi) for t in (math.pi / 2, 1.5 * math.pi))
    zeros += [(t + angle) % (2 * math.pi) for t in (math.pi / 2, 1.5 * math.pi)]
    zeros.sort()
    middles = [(a + b) / 2 for a, b in zip(zeros, [*zeros[1:], zeros[0] + 2 * math.pi], strict=True)]
    return zeros + middles


def _converged(at: Callable[[int], float], last: int) -> float | None:
    nodes, value = FIRST_NODES, at(FIRST_NODES)
    while nodes < last:
        nodes *= 2
        finer = at(nodes)
        if abs(finer - value) <= TOLERANCE * max(1.0, abs(finer)):
            return finer
        value = finer
    return None
