"""Mean-field theory of signal propagation in wide random networks.

Weights are N(0, sigma_w^2 / fan_in), biases N(0, sigma_b^2). Poole et al. 2016,
"Exponential expressivity in deep neural networks through transient chaos" (PN), and
Schoenholz et al. 2017, "Deep information propagation" (SDI), number the equations.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import brentq

from pipeline.theory.expectations import expect, expect_each, expect_pair
from pipeline.theory.nonlinearities import NONLINEARITIES, Nonlinearity

__all__ = ["DEPTH_SCALES", "MeanField", "critical_sigma_w2"]

DEPTH_SCALES = 6
"""A network trains while its depth is below about six correlation lengths (SDI, sec. 5)."""

SMALLEST, LARGEST = 1e-16, 1e12  # variances taken for 0 and for infinity
STEP = 1.1  # of the scans that bracket a root
RUNGS = 12  # steps of a scan at a time
ROOT = {"xtol": 1e-14, "rtol": 8.9e-16, "maxiter": 200}
# Closer than this to correlation 1, rounding decides the sign of C(c) - c.
NEAR_ONE = 1e-7


@dataclass(frozen=True)
class MeanField:
    """A point (sigma_w^2, sigma_b^2) of the phase diagram of an activation.

    Args:
        activation: a name in ``NONLINEARITIES``.
        sigma_w2: weight variance times fan-in, > 0.
        sigma_b2: bias variance, >= 0.
    """

    activation: str
    sigma_w2: float
    sigma_b2: float

    @property
    def phi(self) -> Nonlinearity:
        return NONLINEARITIES[self.activation]

    def variance_map(self, q: float) -> float:
        """The pre-activation variance of the next layer (PN eq. 3)."""
        phi = self.phi
        return self.sigma_w2 * expect(lambda u: phi.value(u) ** 2, q, phi.kinked) + self.sigma_b2

    @cached_property
    def q_star(self) -> float:
        """The variance that a unit variance tends to; 0 or inf where it vanishes or explodes.

        The map grows with q, so from q = 1 it moves one way, to the next fixed point.
        """
        if self.activation == "relu":  # the map is linear: half of the variance passes
            return _linear_fixed_point(self.sigma_w2 / 2, self.sigma_b2)
        drift = self.variance_map(1.0) - 1.0
        if drift == 0:
            return 1.0
        step = STEP if drift > 0 else 1 / STEP
        near = 1.0
        while SMALLEST < near < LARGEST:
            rungs = near * step ** np.arange(RUNGS + 1)
            drifts = self._variance_maps(rungs[1:]) - rungs[1:]
            crossed = np.flatnonzero(drifts * drift <= 0)
            if crossed.size:
                low, high = sorted(rungs[crossed[0] : crossed[0] + 2])
                return float(brentq(lambda q: self.variance_map(q) - q, low, high, **ROOT))
            near = float(rungs[-1])
        return math.inf if drift > 0 else 0.0

    def _variance_maps(self, q: np.ndarray) -> np.ndarray:
        phi = self.phi
        maps: np.ndarray = self.sigma_w2 * expect_each(lambda u: phi.value(u) ** 2, q, phi.kinked) + self.sigma_b2
        return maps

    def slope_product(self, c: float) -> float:
        """sigma_w^2 E[phi'(u1) phi'(u2)] at q* and correlation c: the correlation map's slope."""
        phi, q = self.phi, self.q_star
        if self.activation == "relu" and q == 0:
            q = 1.0  # its slopes are the same at any variance, and undefined at 0
        if math.isinf(q):
            ends = phi.slope(np.array([-1e3, 1e3]))
            share = (math.pi - math.acos(c)) / (2 * math.pi)  # of u1, u2 with one given sign each
            return self.sigma_w2 * float(share * (ends**2).sum() + 2 * (0.5 - share) * ends.prod())
        if c >= 1:
            return self.sigma_w2 * expect(lambda u: phi.slope(u) ** 2, q, phi.kinked)
        return self.sigma_w2 * expect_pair(phi.slope, phi.slope, q, c, phi.kinked)

    @cached_property
    def chi_1(self) -> float:
        """Slope of the correlation map at 1 (PN eq. 6): ordered below 1, chaotic above."""
        return self.slope_product(1.0)

    def correlation_map(self, c: float) -> float:
        """The next layer's correlation of two inputs, both at variance q* (PN eq. 5)."""
        phi, q = self.phi, self.q_star
        if c >= 1 or q == 0 or math.isinf(q):
            return 1.0
        return (self.sigma_w2 * expect_pair(phi.value, phi.value, q, c, phi.kinked) + self.sigma_b2) / q

    @cached_property
    def c_star(self) -> float:
        """The stable fixed point of the correlation map: 1 in the ordered phase."""
        if self.chi_1 <= 1 or self.q_star == 0 or math.isinf(self.q_star):
            return 1.0

        def drift(c: float) -> float:
            return self.correlation_map(c) - c

        if drift(0.0) <= 1e-14:
            return 0.0
        if drift(1 - NEAR_ONE) >= 0:
            return 1.0
        return float(brentq(drift, 0.0, 1 - NEAR_ONE, **ROOT))

    @cached_property
    def xi_q(self) -> float:
        """Depth scale of the variance (SDI eq. 7), in layers."""
        phi, q = self.phi, self.q_star
        if math.isinf(q):
            return math.inf
        curvature = expect(lambda u: phi.second(u) * phi.value(u), q, phi.kinked)
        return _depth_scale(self.chi_1 + self.sigma_w2 * curvature)

    @cached_property
    def xi_c(self) -> float:
        """Depth scale of the correlation (SDI eq. 9), in layers; infinite at criticality."""
        return _depth_scale(self.slope_product(self.c_star))

    @property
    def depth_limit(self) -> float:
        """``6 xi_c``: deeper networks are hard to train."""
        return DEPTH_SCALES * self.xi_c


def _depth_scale(slope: float) -> float:
    """Layers over which a deviation shrinks by e, if a layer multiplies it by ``slope``."""
    if slope <= 0:
        return 0.0
    rate = abs(math.log(slope))
    return 1 / rate if rate > 0 else math.inf


def _linear_fixed_point(slope: float, offset: float) -> float:
    if slope < 1:
        return offset / (1 - slope)
    # At slope 1 without an offset every variance is a fixed point: a unit one stays.
    return 1.0 if slope == 1 and offset == 0 else math.inf


def critical_sigma_w2(activation: str, sigma_b2: float) -> float | None:
    """The sigma_w^2 at which chi_1 = 1 for this sigma_b^2: the edge of chaos.

    Returns:
        None where chi_1 jumps over 1 as the variance explodes (GELU without biases), so
        that no point is critical.
    """

    at_zero = np.zeros(1)
    phi = NONLINEARITIES[activation]
    if activation == "relu":
        return 2.0  # chi_1 = sigma_w^2 / 2, whatever the variance
    if sigma_b2 == 0 and phi.value(at_zero)[0] == 0:
        # Where q* leaves 0, chi_1 = sigma_w^2 phi'(0)^2 passes 1.
        edge = float(phi.slope(at_zero)[0] ** -2.0)
        if MeanField(activation, edge, 0.0).q_star < 1e-3:
            return edge

    def excess(sigma_w2: float) -> float:
        return MeanField(activation, sigma_w2, sigma_b2).chi_1 - 1

    low, high = 0.1, 0.1 * STEP
    while high < LARGEST:
        if excess(high) >= 0:
            found = float(brentq(excess, low, high, xtol=1e-12, rtol=1e-13))
            return found if abs(excess(found)) < 1e-6 else None
        low, high = high, high * STEP
    return None
