"""The critical line and the depth scale over a range of biases at once, to draw them: to about 1e-3.

:class:`~pipeline.theory.MeanField` is exact at a point and takes milliseconds there. A
picture needs thousands of points, and biases that are equal besides: units that share a
bias b see phi(b + u), so that a constant bias shifts the activation where a random one adds
to the variance. Both stand here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pipeline.theory.meanfield import DEPTH_SCALES
from pipeline.theory.nonlinearities import NONLINEARITIES, Nonlinearity

__all__ = ["Biases", "critical_line", "depth_lines"]

STEP, REACH = 0.075, 9.0  # of the trapezoidal rule; it resolves functions of 20 z
TERMS = 64  # of Mehler's series
SETTLING = 200  # steps of the variance map at most
SETTLED = 1e-5
HALVINGS = 20  # of the interval that holds a root
SMALLEST, LARGEST = 1e-12, 1e12
JUMP = 0.05


@dataclass(frozen=True)
class Biases:
    """Biases of layers, each an array ``(n,)``: the variance of random ones, the value of constant ones."""

    variance: np.ndarray
    shift: np.ndarray


def _hermite(z: np.ndarray) -> np.ndarray:
    """The normalised Hermite polynomials at points, ``(TERMS, n)``."""
    found = [np.ones_like(z), z]
    for k in range(1, TERMS - 1):
        found.append((z * found[k] - math.sqrt(k) * found[k - 1]) / math.sqrt(k + 1))
    return np.stack(found)


Z = np.arange(-REACH, REACH + STEP / 2, STEP)
WEIGHTS = STEP * np.exp(-0.5 * Z**2) / math.sqrt(2 * math.pi)
PROJECTION = (WEIGHTS * _hermite(Z)).T


def critical_line(activation: str, biases: Biases, low: float, high: float) -> np.ndarray:
    """The sigma_w^2 between two bounds at which chi_1 = 1 under each of the biases, NaN where there is none.

    Poole et al. 2016, eq. 3 and 6, for the activation ``phi(shift + u)``.
    """
    phi = NONLINEARITIES[activation]
    return _crossing(lambda w: _chi(phi, w, biases)[0] - 1, len(biases.shift), np.full(1, low), np.full(1, high))


def depth_lines(
    activation: str, biases: Biases, depth: int, low: float, high: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Between which sigma_w^2 a network so deep trains: the critical line, and where ``6 xi_c`` is the depth
    below it and above it; NaN where a line is not between the bounds.

    Schoenholz et al. 2017, eq. 9.
    """
    phi = NONLINEARITIES[activation]
    critical = critical_line(activation, biases, low, high)
    edge = np.where(np.isnan(critical), high, critical)
    slope = math.exp(-DEPTH_SCALES / depth)  # of the correlation map, with which 6 xi_c is the depth
    below = _crossing(lambda w: _chi(phi, w, biases)[0] - slope, len(edge), np.full(1, low), edge)
    above = _crossing(
        lambda w: slope - _slope_at_fixed_point(phi, w, biases), len(edge), edge * 1.001, np.full(1, high)
    )
    return critical, below, np.where(np.isnan(critical), np.nan, above)


def _crossing(rising: Callable[[np.ndarray], np.ndarray], n: int, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Where functions of sigma_w^2 that rise pass 0, ``(n,)``, by halving on a scale of logarithms."""
    a, b = np.log(np.broadcast_to(low, n)).copy(), np.log(np.broadcast_to(high, n)).copy()
    there = (rising(np.exp(a)) < 0) & (rising(np.exp(b)) > 0)
    for _ in range(HALVINGS):
        middle = (a + b) / 2
        below = rising(np.exp(middle)) < 0
        a, b = np.where(below, middle, a), np.where(below, b, middle)
    at = np.exp((a + b) / 2)
    # Where the variance explodes a function jumps over 0: that is no line.
    found: np.ndarray = np.where(there & (np.abs(rising(at)) < JUMP), at, np.nan)
    return found


def _chi(phi: Nonlinearity, sigma_w2: np.ndarray, biases: Biases) -> tuple[np.ndarray, np.ndarray]:
    """chi_1 and the variance that a unit variance tends to; where that explodes it is 1e12."""
    w, b, s = (a[:, None] for a in (sigma_w2, biases.variance, biases.shift))
    q = np.ones_like(w)
    for _ in range(SETTLING):
        before = q
        q = np.clip(w * (WEIGHTS * phi.value(s + np.sqrt(q) * Z) ** 2).sum(1, keepdims=True) + b, SMALLEST, LARGEST)
        if np.all(np.abs(q - before) <= SETTLED * before):
            break
    return w[:, 0] * (WEIGHTS * phi.slope(s + np.sqrt(q) * Z) ** 2).sum(1), q[:, 0]


def _slope_at_fixed_point(phi: Nonlinearity, sigma_w2: np.ndarray, biases: Biases) -> np.ndarray:
    """The correlation map's slope at its stable fixed point below 1, where chi_1 > 1.

    By Mehler's formula, E[f(u1) f(u2)] = sum_k c^k a_k^2 with a_k = E[f(shift + sqrt(q) z) h_k(z)].
    """
    _, variance = _chi(phi, sigma_w2, biases)
    u = biases.shift[:, None] + np.sqrt(variance)[:, None] * Z
    values, slopes = ((f(u) @ PROJECTION) ** 2 for f in (phi.value, phi.slope))
    powers = np.arange(TERMS)
    low, high = np.zeros(len(sigma_w2)), np.full(len(sigma_w2), 1 - 1e-6)
    for _ in range(HALVINGS):
        c = (low + high) / 2
        grows = sigma_w2 * (values * c[:, None] ** powers).sum(1) + biases.variance > c * variance
        low, high = np.where(grows, c, low), np.where(grows, high, c)
    found: np.ndarray = sigma_w2 * (slopes * ((low + high) / 2)[:, None] ** powers).sum(1)
    return found
