"""The kernels of ``looks.cpp`` and ``spectrum.cpp`` on torch tensors: float32, contiguous, on the CPU.

Settings that belong to a definition are arguments; ``pipeline.probes`` owns them.
"""

from collections.abc import Sequence
from ctypes import Array, Structure, c_double, c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.native.build import library
from pipeline.native.tensors import address, check, enough_memory

__all__ = [
    "FIELDS",
    "Found",
    "Sought",
    "look",
    "look_at_rows",
    "looks_of",
    "rows_equal",
    "singular_values",
    "sum_cosines",
    "sums",
    "sums_of_change",
]

FIELDS = ("low", "high", "mean", "variance", "mean_size", "mean_away", "mean_slope")


class _Look(Structure):
    _fields_ = (
        ("thresholds", c_void_p),
        ("count", c_int32),
        ("parts", c_int32),
        ("middle", c_float),
        ("varies", c_double),
        ("apart", c_double),
        ("found", c_void_p),
        ("may_copy", c_void_p),
    )


@dataclass(frozen=True)
class Sought:
    """What to look for in the signals of a layer.

    Attributes:
        samples: how many there are.
        thresholds: of pre-activations.
        middle: of the activation's bounds.
        parts: a divisor of the samples: in how many parts they are added up to compare units.
        varies: a unit varies if its range is above this share of its size.
        apart: squared distance of units that are no copies, once centred and of norm 1, up to the sign.
    """

    samples: int
    thresholds: tuple[float, ...]
    middle: float
    parts: int
    varies: float
    apart: float


@dataclass(frozen=True)
class Found:
    """What was found.

    Attributes:
        sought: what was looked for.
        values: ``(len(FIELDS) + len(thresholds), S, units)`` float64: ``FIELDS`` (extremes, mean,
            variance, mean |a|, mean |a - middle|, mean phi'(z)), then for each threshold on how
            many samples z is above it.
        may_copy: ``(S,)``, whether two units that vary may be nearer than ``apart``.
        thresholds: as the kernels compare with them, in float32.
    """

    sought: Sought
    values: Tensor
    may_copy: Tensor
    thresholds: Tensor


def looks_of(sought: Sequence[Sought], members: int, units: Sequence[int]) -> "tuple[Array[_Look], list[Found]]":
    """What the kernels fill for each of some layers, as long as the second is kept, which they fill."""
    found = [
        Found(
            what,
            torch.empty(len(FIELDS) + len(what.thresholds), members, n, dtype=torch.float64),
            torch.empty(members, dtype=torch.bool),
            torch.tensor(what.thresholds, dtype=torch.float32),
        )
        for what, n in zip(sought, units, strict=True)
    ]
    looks = [
        _Look(
            *(room.thresholds.data_ptr(), len(room.thresholds), what.parts, what.middle, what.varies, what.apart),
            *(room.values.data_ptr(), room.may_copy.data_ptr()),
        )
        for what, room in zip(sought, found, strict=True)
    ]
    return (_Look * len(looks))(*looks), found


def look(z: Tensor, a: Tensor, sought: Sought) -> Found:
    """What pre-activations and activations ``(S, samples, units)`` are like; their slope is taken for 0."""
    check(z, torch.float32)
    check(a, torch.float32)
    looks, (found,) = looks_of([sought], len(z), [z.shape[2]])
    enough_memory(library().look(address(z), address(a), *map(c_int64, z.shape), looks))
    return found


def look_at_rows(rows: Tensor, last: Tensor | None, lines: Tensor, tolerance: float) -> Tensor:
    """Whether on every line two rows of a member lie within the tolerance: ``(S,)``.

    Args:
        rows: ``(S, n, d)``, or a transposed view of ``(S, d, n)``. last: one more entry of each row, ``(S, n)``.
        lines: directions, ``(count, d)`` float64, or d + 1.
        tolerance: as a share of the member's largest row norm.
    """
    columns = not rows.is_contiguous()
    check(rows.mT if columns else rows, torch.float32)
    check(last, torch.float32)
    check(lines, torch.float64)
    may_copy = torch.empty(len(rows), dtype=torch.bool)
    failed = library().look_at_rows(
        *(address(rows), c_int32(columns), None if last is None else address(last), *map(c_int64, rows.shape)),
        *(address(lines), c_int32(len(lines))),
        *(c_double(tolerance), address(may_copy)),
    )
    enough_memory(failed)
    return may_copy


def rows_equal(rows: Tensor, pairs: Tensor) -> Tensor:
    """Whether two rows of a member are equal number by number (NaN equals NaN), ``(k,)``.

    Args:
        rows: ``(S, n, d)``. pairs: ``(3, k)`` int64, a member and two of its rows each.
    """
    check(rows, torch.float32)
    check(pairs, torch.int64)
    equal = torch.empty(pairs.shape[1], dtype=torch.bool)
    sizes = map(c_int64, rows.shape[1:])
    library().rows_equal(address(rows), *sizes, address(pairs), c_int64(pairs.shape[1]), address(equal))
    return equal


def sum_cosines(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Of abs(cosine) over all ordered pairs of different rows ``(S, n, d)``, ``(S,)`` float64; 0 for zero rows.

    Also how many rows are zero.
    """
    check(rows, torch.float32)
    found = torch.empty(2, len(rows), dtype=torch.float64)
    enough_memory(library().sum_cosines(address(rows), *map(c_int64, rows.shape), address(found)))
    return found[0], found[1]


def sums(tensors: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of squares and variance of each member's entries ``(S, ...)``, each ``(S,)`` float64."""
    check(tensors, torch.float32)
    found = torch.empty(2, len(tensors), dtype=torch.float64)
    library().sums(address(tensors), c_int64(len(tensors)), c_int64(tensors[0].numel()), address(found))
    return found[0], found[1]


def sums_of_change(change: Tensor, after: Tensor) -> tuple[Tensor, Tensor]:
    """Sums of squares of what was added to each member's tensor ``(S, ...)`` and of what it was before, ``(S,)``."""
    check(change, torch.float32)
    check(after, torch.float32)
    found = torch.empty(2, len(change), dtype=torch.float64)
    size = c_int64(change[0].numel())
    library().sums_of_change(address(change), address(after), c_int64(len(change)), size, address(found))
    return found[0], found[1]


def singular_values(matrices: Tensor) -> Tensor:
    """Of ``(S, n, d)``, each divided by its largest entry: ``(S, min(n, d))`` float64, rising."""
    check(matrices, torch.float32)
    values = torch.empty(len(matrices), min(matrices.shape[1:]), dtype=torch.float64)
    failed = library().singular_values(address(matrices), *map(c_int64, matrices.shape), address(values))
    enough_memory(failed == 1)
    if failed:
        raise ArithmeticError("an eigenvalue did not converge")
    return values
