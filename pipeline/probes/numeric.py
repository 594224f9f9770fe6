"""What several probes do to stay exact: scaling before squaring, and quotients of zeros."""

import torch
from torch import Tensor

__all__ = ["CONSTANT_TOLERANCE", "centred", "quotient", "scaled"]

# The precision of float32, in which activations are computed.
CONSTANT_TOLERANCE = 1e-7


def scaled(matrix: Tensor) -> Tensor:
    """``(S, n, d)`` divided by each member's largest entry: no square under- or overflows."""
    largest = matrix.abs().flatten(1).amax(1)
    return matrix / torch.where(largest > 0, largest, 1.0)[:, None, None]


def centred(activations: Tensor) -> Tensor:
    """``(S, samples, units)`` less each unit's mean, scaled; exactly 0 for a constant unit.

    Of a constant unit nothing but round-off would be left.
    """
    away = activations - activations.mean(1, keepdim=True)
    constant = away.abs().amax(1) <= CONSTANT_TOLERANCE * activations.abs().amax(1)
    return scaled(away.masked_fill(constant[:, None], 0.0))


def quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, and 0 where the denominator is 0."""
    zero = denominator == 0
    return torch.where(zero, 0.0, numerator / torch.where(zero, 1.0, denominator))
