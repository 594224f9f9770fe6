"""Activations: the module, its slope, and where it counts as flat and as linear.

One definition of "flat" serves every activation: a unit is flat on a sample where
``|phi'(z)| < 0.1 * max |phi'|``. "Linear" is where phi lies within 5 % of its tangent at
0, measured from phi(0) (``|phi(z) - phi(0) - phi'(0) z| <= 0.05 |phi'(0) z|``); for the
ReLU-like ones the tangent is that of the active branch, phi(z) = z. As the deviation
grows monotonically, "linear" is an interval of z, whose ends are given in closed form.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["ACTIVATIONS", "FLAT_SHARE", "LINEAR_TOLERANCE", "Activation", "activation_of"]

FLAT_SHARE = 0.1
LINEAR_TOLERANCE = 0.05


@dataclass(frozen=True)
class Activation:
    """An elementwise nonlinearity phi.

    Attributes:
        module: the ``torch.nn`` class.
        slope: phi'(z), elementwise.
        max_slope: the maximum of |phi'| over the real line.
        linear_from, linear_to: phi is within 5 % of its tangent inside this open interval.
        bounds: what phi(z) tends to for z to minus and plus infinity; None if it has no bounds.
        odd: whether phi(-z) = -phi(z).
    """

    name: str
    module: type[nn.Module]
    slope: Callable[[Tensor], Tensor]
    max_slope: float
    linear_from: float
    linear_to: float
    bounds: tuple[float, float] | None = None
    odd: bool = False

    def flat(self, z: Tensor) -> Tensor:
        """Where the activation is flat: a boolean tensor of z's shape. NaN is not flat."""
        return self.slope(z).abs() < FLAT_SHARE * self.max_slope

    def linear(self, z: Tensor) -> Tensor:
        """Where the activation acts as its tangent: a boolean tensor of z's shape."""
        return (z > self.linear_from) & (z < self.linear_to)


def _tanh_slope(z: Tensor) -> Tensor:
    return 1 - torch.tanh(z).square()


def _sigmoid_slope(z: Tensor) -> Tensor:
    return 0.25 * _tanh_slope(z / 2)


def _relu_slope(z: Tensor) -> Tensor:
    return (z > 0).to(z.dtype)


def _softsign_slope(z: Tensor) -> Tensor:
    return (1 + z.abs()).reciprocal().square()


def _gelu_slope(z: Tensor) -> Tensor:
    density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
    return 0.5 * (1 + torch.erf(z / math.sqrt(2))) + z * density


# tanh(z) / z = 0.95 at this z, found with 50 digits; the sigmoid is tanh at half the scale.
_TANH_LINEAR = 0.39945811229272615

ACTIVATIONS: dict[str, Activation] = {
    a.name: a
    for a in (
        Activation("tanh", nn.Tanh, _tanh_slope, 1.0, -_TANH_LINEAR, _TANH_LINEAR, (-1.0, 1.0), odd=True),
        Activation("sigmoid", nn.Sigmoid, _sigmoid_slope, 0.25, -2 * _TANH_LINEAR, 2 * _TANH_LINEAR, (0.0, 1.0)),
        Activation("relu", nn.ReLU, _relu_slope, 1.0, 0.0, math.inf),
        # The slope of GELU peaks at z = sqrt(2) with Phi(sqrt 2) + sqrt 2 * density(sqrt 2);
        # z * Phi(z) comes within 5 % of z where Phi(z) = 0.95.
        Activation("gelu", nn.GELU, _gelu_slope, 1.128904145185154786, 1.6448536269514722, math.inf),
        # 1 / (1 + |z|) = 0.95.
        Activation("softsign", nn.Softsign, _softsign_slope, 1.0, -1 / 19, 1 / 19, (-1.0, 1.0), odd=True),
    )
}

_BY_MODULE = {a.module: a for a in ACTIVATIONS.values()}


def activation_of(module: nn.Module) -> Activation | None:
    """The activation that ``module`` is, or None if it is none that we know."""
    return _BY_MODULE.get(type(module))
