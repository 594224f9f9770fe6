"""Weight schemes that are a structure more than a distribution: equal, tied, identity."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from pipeline.init.draws import normal
from pipeline.init.registry import Slot, weight_scheme
from pipeline.init.weights import orthogonal

__all__: list[str] = []


@weight_scheme("zeros", "Every weight 0.", scaled=False)
def _zeros(slot: Slot) -> Tensor:
    return torch.zeros(slot.shape, dtype=torch.float64)


@weight_scheme("constant", "Every weight 1, so that the scale is the constant.")
def _constant(slot: Slot) -> Tensor:
    return torch.ones(slot.shape, dtype=torch.float64)


def _glorot_std(slot: Slot) -> float:
    return math.sqrt(2 / (slot.fans.fan_in + slot.fans.fan_out))


@weight_scheme(
    "row_tied",
    "All rows of a matrix equal to one random row, N(0, 2/(n_in + n_out)); a convolution's row is a channel's filter.",
)
def _row_tied(slot: Slot) -> Tensor:
    row = normal((1, *slot.shape[1:]), _glorot_std(slot), slot.generator)
    return row.expand(slot.shape).contiguous()


@weight_scheme(
    "column_tied",
    "All columns of a matrix equal to one random column, N(0, 2/(n_in + n_out)); a convolution's column is what "
    "reads one input channel, kernels and all.",
)
def _column_tied(slot: Slot) -> Tensor:
    column = normal((slot.shape[0], 1, *slot.shape[2:]), _glorot_std(slot), slot.generator)
    return column.expand(slot.shape).contiguous()


@weight_scheme("tied", "Every weight of a matrix equal to one random number, N(0, 2/(n_in + n_out)).")
def _tied(slot: Slot) -> Tensor:
    return normal((1,), _glorot_std(slot), slot.generator).expand(slot.shape).contiguous()


def _eye(rows: int, columns: int) -> Tensor:
    return torch.eye(rows, columns, dtype=torch.float64)


def _at_centre(matrix: Tensor, slot: Slot) -> Tensor:
    """A matrix as the weight of the slot: at the centre of a kernel, zeros around it."""
    weight = torch.zeros(slot.shape, dtype=torch.float64)
    at = sum(size // 2 * math.prod(slot.shape[2 + i + 1 :]) for i, size in enumerate(slot.shape[2:]))
    weight.reshape(*slot.shape[:2], -1)[:, :, at] = matrix
    return weight


@weight_scheme(
    "identity",
    "Partial identity: w_ij = 1 where i = j (Le et al. 2015, IRNN); in a convolution at the kernel's centre, Dirac's "
    "delta (Zagoruyko & Komodakis 2017, sec. 3.1).",
)
def _identity(slot: Slot) -> Tensor:
    return _at_centre(_eye(*slot.shape[:2]), slot)


@weight_scheme(
    "delta_orthogonal",
    "Orthonormal rows or columns, Haar distributed, at the centre of a kernel that is 0 elsewhere; keeps the norms of "
    "feature maps where channels don't shrink: Xiao et al. 2018, alg. 1. In a linear layer the same as orthogonal.",
)
def _delta_orthogonal(slot: Slot) -> Tensor:
    return _at_centre(orthogonal(replace(slot, shape=slot.shape[:2])), slot)


@weight_scheme(
    "zero_init",
    "ZerO: partial identity, through a Hadamard matrix where the dimension grows; in a convolution at the kernel's "
    "centre: Zhao et al. 2022, alg. 1.",
)
def _zero_init(slot: Slot) -> Tensor:
    out, inp = slot.shape[:2]
    if out <= inp:
        return _at_centre(_eye(out, inp), slot)
    order = math.ceil(math.log2(out))
    scaled = _hadamard(order) / 2 ** (order / 2)
    return _at_centre(_eye(out, 2**order) @ scaled @ _eye(2**order, inp), slot)


def _hadamard(order: int) -> Tensor:
    """Sylvester's Hadamard matrix of size ``2 ** order``."""
    matrix = torch.ones(1, 1, dtype=torch.float64)
    for _ in range(order):
        matrix = torch.cat([torch.cat([matrix, matrix], 1), torch.cat([matrix, -matrix], 1)])
    return matrix
