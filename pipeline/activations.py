"""Activations: the module, its slope, and where it counts as flat and as linear.

One definition of "flat" serves every activation: a unit is flat on a sample where
``|phi'(z)| < 0.1 * max |phi'|``. "Linear" is where phi lies within 5 % of its tangent at
0, measured from phi(0) (``|phi(z) - phi(0) - phi'(0) z| <= 0.05 |phi'(0) z|``); for the
ReLU-like ones the tangent is that of the active branch, phi(z) = z. Both are intervals of
z, whose ends are given in closed form, so that neither costs an exponential a sample.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["ACTIVATIONS", "Activation", "Intervals", "activation_of"]

Intervals = tuple[tuple[float, float], ...]
"""Disjoint (low, high]: without the lower end, with the upper one."""


@dataclass(frozen=True)
class Activation:
    """An elementwise nonlinearity phi.

    Attributes:
        module: the ``torch.nn`` class.
        slope: phi'(z), elementwise.
        flat_where: where |phi'| is below a tenth of its maximum.
        linear_where: where phi is within 5 % of its tangent.
        bounds: what phi(z) tends to for z to minus and plus infinity; None if it has no bounds.
        odd: whether phi(-z) = -phi(z).
    """

    name: str
    module: type[nn.Module]
    slope: Callable[[Tensor], Tensor]
    flat_where: Intervals
    linear_where: Intervals
    bounds: tuple[float, float] | None = None
    odd: bool = False

    def flat(self, z: Tensor) -> Tensor:
        """Where the activation is flat: a boolean tensor of z's shape. NaN is not flat."""
        return _inside(z, self.flat_where)

    def linear(self, z: Tensor) -> Tensor:
        """Where the activation acts as its tangent: a boolean tensor of z's shape."""
        return _inside(z, self.linear_where)


def _inside(z: Tensor, intervals: Intervals) -> Tensor:
    found = torch.zeros_like(z, dtype=torch.bool)
    for low, high in intervals:
        found |= (z > low) & (z <= high)
    return found


def _sigmoid_slope(z: Tensor) -> Tensor:
    # 1 - tanh^2 and sigmoid (1 - sigmoid) lose all digits where they are small.
    decay = torch.exp(-z.abs())
    return decay / (1 + decay).square()


def _tanh_slope(z: Tensor) -> Tensor:
    return 4 * _sigmoid_slope(2 * z)


def _relu_slope(z: Tensor) -> Tensor:
    return (z > 0).to(z.dtype)


def _softsign_slope(z: Tensor) -> Tensor:
    return (1 + z.abs()).reciprocal().square()


def _gelu_slope(z: Tensor) -> Tensor:
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(z / math.sqrt(2))) + z * density


_INF = math.inf
# The slope of tanh is 0.1 at acosh(sqrt(10)), and tanh(z) / z = 0.95 at this z, found with
# 50 digits; the sigmoid is tanh at half the scale.
_TANH_FLAT, _TANH_LINEAR = 1.8184464592320668, 0.39945811229272615
# The slope of softsign, (1 + |z|)^-2, is 0.1 here, and softsign(z) / z = 1 / (1 + |z|) = 0.95 there.
_SOFTSIGN_FLAT, _SOFTSIGN_LINEAR = math.sqrt(10) - 1, 1 / 19
# The slope of GELU falls from 0 to -0.13, rises through 0 again and peaks at z = sqrt(2); it
# is a tenth of its peak, up to the sign, at these z, found with 50 digits.
_GELU_FLAT = ((-_INF, -1.7281919779294481), (-1.1582954023453620, -0.5324056076153419))


def _beyond(end: float) -> Intervals:
    return ((-_INF, -end), (end, _INF))


def _within(end: float) -> Intervals:
    return ((-end, end),)


ACTIVATIONS: dict[str, Activation] = {
    a.name: a
    for a in (
        Activation("tanh", nn.Tanh, _tanh_slope, _beyond(_TANH_FLAT), _within(_TANH_LINEAR), (-1.0, 1.0), odd=True),
        Activation(
            "sigmoid",
            nn.Sigmoid,
            _sigmoid_slope,
            _beyond(2 * _TANH_FLAT),
            _within(2 * _TANH_LINEAR),
            (0.0, 1.0),
        ),
        Activation("relu", nn.ReLU, _relu_slope, ((-_INF, 0.0),), ((0.0, _INF),)),
        # z * Phi(z) comes within 5 % of z where Phi(z) = 0.95.
        Activation("gelu", nn.GELU, _gelu_slope, _GELU_FLAT, ((1.6448536269514722, _INF),)),
        Activation(
            "softsign",
            nn.Softsign,
            _softsign_slope,
            _beyond(_SOFTSIGN_FLAT),
            _within(_SOFTSIGN_LINEAR),
            (-1.0, 1.0),
            odd=True,
        ),
    )
}

_BY_MODULE = {a.module: a for a in ACTIVATIONS.values()}


def activation_of(module: nn.Module) -> Activation | None:
    """The activation that ``module`` is, or None if it is none that we know."""
    return _BY_MODULE.get(type(module))
