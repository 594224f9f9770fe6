"""The kernels of ``looks.cpp`` and ``spectrum.cpp`` on torch tensors: float32, contiguous, on the CPU.

Settings that belong to a definition are arguments; ``pipeline.probes`` owns them.
"""

from collections.abc import Sequence
from ctypes import c_double, c_float, c_int32, c_int64

import torch
from torch import Tensor

from pipeline.native.build import library
from pipeline.native.tensors import address, check, enough_memory

__all__ = ["FIELDS", "look", "look_at_rows", "singular_values", "sum_cosines"]

FIELDS = ("low", "high", "mean", "variance", "mean_size", "mean_away")


def look(
    z: Tensor, a: Tensor, thresholds: Sequence[float], middle: float, parts: int, varies: float, apart: float
) -> tuple[Tensor, Tensor]:
    """What pre-activations and activations ``(S, samples, units)`` are like.

    Args:
        parts: a divisor of the samples: in how many parts they are added up for the comparison of units.
        varies: a unit varies if its range is above this share of its size.
        apart: squared distance of units that are no copies, once centred and of norm 1, up to the sign.

    Returns:
        ``(6 + len(thresholds), S, units)`` float64: ``FIELDS`` (extremes, mean, variance, mean |a|,
        mean |a - middle|), then for each threshold on how many samples z is above it;
        and ``(S,)`` whether two varying units may be nearer than ``apart``.
    """
    check(z, torch.float32)
    check(a, torch.float32)
    members, samples, units = z.shape
    limits = torch.tensor(thresholds, dtype=torch.float32)
    found = torch.empty(len(FIELDS) + len(limits), members, units, dtype=torch.float64)
    may_copy = torch.empty(members, dtype=torch.bool)
    failed = library().look(
        *(address(z), address(a), c_int64(members), c_int64(samples), c_int64(units)),
        *(address(limits), c_int32(len(limits)), c_float(middle), c_int32(parts)),
        *(c_double(varies), c_double(apart), address(found), address(may_copy)),
    )
    enough_memory(failed)
    return found, may_copy


def look_at_rows(rows: Tensor, lines: Tensor, tolerance: float) -> Tensor:
    """Whether on every line two rows of a member lie within the tolerance: ``(S,)``.

    Args:
        rows: ``(S, n, d)``. lines: up to 4 directions, ``(count, d)`` float64.
        tolerance: as a share of the member's largest row norm.
    """
    check(rows, torch.float32)
    check(lines, torch.float64)
    may_copy = torch.empty(len(rows), dtype=torch.bool)
    failed = library().look_at_rows(
        *(address(rows), *map(c_int64, rows.shape), address(lines), c_int32(len(lines))),
        *(c_double(tolerance), address(may_copy)),
    )
    enough_memory(failed)
    return may_copy


def sum_cosines(rows: Tensor) -> Tensor:
    """Of abs(cosine) over all ordered pairs of different rows ``(S, n, d)``, ``(S,)`` float64; 0 for zero rows."""
    check(rows, torch.float32)
    sums = torch.empty(len(rows), dtype=torch.float64)
    enough_memory(library().sum_cosines(address(rows), *map(c_int64, rows.shape), address(sums)))
    return sums


def singular_values(matrices: Tensor) -> Tensor:
    """Of ``(S, n, d)``, each divided by its largest entry: ``(S, min(n, d))`` float64, rising."""
    check(matrices, torch.float32)
    values = torch.empty(len(matrices), min(matrices.shape[1:]), dtype=torch.float64)
    failed = library().singular_values(address(matrices), *map(c_int64, matrices.shape), address(values))
    enough_memory(failed == 1)
    if failed:
        raise ArithmeticError("an eigenvalue did not converge")
    return values
