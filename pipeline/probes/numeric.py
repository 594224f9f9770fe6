"""What several probes do to stay exact and cheap: scaling before squaring, quotients of zeros,
counts, spreads and singular values of whole stacks."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.stack import ROW_BLOCK

__all__ = [
    "CONSTANT_TOLERANCE",
    "Spread",
    "centred",
    "count_above",
    "elementwise",
    "norms",
    "on_cpu",
    "quotient",
    "scaled",
    "singular_values",
    "variances",
]

# The precision of float32, in which activations are computed.
CONSTANT_TOLERANCE = 1e-7


def scaled(matrix: Tensor) -> Tensor:
    """``(S, n, d)`` divided by each member's largest entry: no square under- or overflows."""
    largest = matrix.abs().flatten(1).amax(1)
    return matrix / torch.where(largest > 0, largest, 1.0)[:, None, None]


def centred(activations: Tensor) -> Tensor:
    """``(S, samples, units)`` less each unit's mean, scaled, in float64; exactly 0 for a constant unit.

    Of a constant unit nothing but round-off would be left.
    """
    activations = activations.to(torch.float64)
    away = activations - activations.mean(1, keepdim=True)
    constant = away.abs().amax(1) <= CONSTANT_TOLERANCE * activations.abs().amax(1)
    return scaled(away.masked_fill(constant[:, None], 0.0))


def quotient(numerator: Tensor, denominator: Tensor) -> Tensor:
    """The quotient, and 0 where the denominator is 0."""
    zero = denominator == 0
    return torch.where(zero, 0.0, numerator / torch.where(zero, 1.0, denominator))


def elementwise(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """``function`` of ``(S, ...)``, with the same bits whatever shares the stack.

    Kernels round otherwise in the last few elements of a tensor, so each member gets whole blocks.
    """
    flat = values.flatten(1) if values.ndim > 1 else values[:, None]
    blocks = torch.nn.functional.pad(flat, (0, -flat.shape[1] % ROW_BLOCK))
    return function(blocks)[:, : flat.shape[1]].reshape(values.shape)


def on_cpu(decomposition: Callable[[Tensor], Tensor], matrices: Tensor) -> Tensor:
    """``decomposition`` of each matrix by itself, whatever the stack around it; on a GPU it would depend on that.

    The copies of the first with which a GPU's stacks are filled up are not decomposed again.
    """
    if matrices.device.type == "cpu":
        return decomposition(matrices)
    copies = (matrices == matrices[:1]).flatten(1).all(1)
    copies[0] = False
    values = decomposition(matrices[~copies].cpu()).to(matrices.device)
    number = (~copies).cumsum(0) - 1  # of those that are decomposed
    return values[number.where(~copies, 0)]


def norms(tensors: Tensor) -> Tensor:
    """Of each member's tensor ``(S, ...)``, in float64. Scaled before squaring: a gradient of 1e-200 is one."""
    flat = tensors.flatten(1).to(torch.float64)
    largest = flat.abs().amax(1)
    return largest * (flat / torch.where(largest > 0, largest, 1.0)[:, None]).square().sum(1).sqrt()


def variances(tensors: Tensor) -> Tensor:
    """Of the entries of each member's tensor ``(S, ...)``, in float64; ``var`` rounds otherwise for a stack of one."""
    flat = tensors.flatten(1).to(torch.float64)
    return (flat - flat.mean(1, keepdim=True)).square().mean(1)


def count_above(values: Tensor, threshold: float) -> Tensor:
    """On how many samples of ``(S, samples, units)`` a unit is above the threshold: ``(S, units)`` in float64.

    Ones and zeros are added in the dtype of the values, which torch does ten times as fast
    as counting booleans; exactly, since float32 holds every count below 2 ** 24.
    """
    return torch.gt(values, threshold, out=torch.empty_like(values)).sum(1).to(torch.float64)


def singular_values(matrix: Tensor) -> Tensor:
    """Of ``(S, n, d)`` divided by each member's largest entry: ``(S, min(n, d))`` in float64, rising.

    From the eigenvalues of the smaller Gram matrix, which takes half the time of a singular
    value decomposition. Round-off hides there what is below about 1e-7 of the largest
    value, so that counts as 0; nor is it known better of a matrix that is trained in float32.
    """
    matrix = scaled(matrix.to(torch.float64))
    wide = matrix if matrix.shape[1] <= matrix.shape[2] else matrix.mT
    squares = on_cpu(torch.linalg.eigvalsh, wide @ wide.mT)
    floor = wide.shape[1] * torch.finfo(torch.float64).eps * squares[:, -1:]
    return torch.where(squares > floor, squares, 0.0).sqrt()


@dataclass(frozen=True)
class Spread:
    """How the activations ``(S, samples, units)`` of each unit vary over the samples.

    Attributes:
        low, high: smallest and largest value, ``(S, units)`` in float64.
        away: ``(S, samples, units)`` less its mean, to a rounding of the mean that
            ``offset`` makes up for, times a power of two so that no square under- or overflows.
        offset: the mean of ``away``, ``(S, units)`` in float64.
        energy: the sum over samples of ``(away - offset)^2``, likewise.
        mean, variance: of the activations themselves, likewise.
    """

    low: Tensor
    high: Tensor
    away: Tensor
    offset: Tensor
    energy: Tensor
    mean: Tensor
    variance: Tensor

    @classmethod
    def of(cls, a: Tensor) -> "Spread":
        low, high = a.amin(1).to(torch.float64), a.amax(1).to(torch.float64)
        # A power of two: nothing is rounded, not even in a unit that is all but constant.
        smallest = torch.frexp(torch.tensor(torch.finfo(a.dtype).tiny)).exponent
        exponent = torch.maximum(torch.frexp(torch.maximum(-low, high)).exponent, smallest)
        scale = torch.ldexp(torch.ones_like(low), exponent)
        away = a * scale.reciprocal()[:, None].to(a.dtype)
        mean = away.mean(1, keepdim=True)
        away.sub_(mean)
        offset = away.mean(1).to(torch.float64)
        energy = away.square().sum(1).to(torch.float64) - a.shape[1] * offset.square()
        return cls(
            low,
            high,
            away,
            offset,
            energy,
            scale * (mean[:, 0].to(torch.float64) + offset),
            scale.square() * energy / a.shape[1],
        )

    @property
    def size(self) -> Tensor:
        """Largest absolute value, ``(S, units)`` in float64."""
        return torch.maximum(-self.low, self.high)
