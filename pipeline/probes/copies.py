"""Which of a layer's vectors agree, for whole stacks.

In most networks none do. That is soon seen, by a look that costs a fraction of comparing
all pairs and never calls different what agrees; the members of which it leaves any doubt
are compared pair by pair in float64.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from pipeline import native as kernels
from pipeline.probes.numeric import CONSTANT_TOLERANCE, Spread, scaled

__all__ = [
    "FAR",
    "PARTS",
    "VARYING",
    "copying_share",
    "distinct_share",
    "functional_share",
    "may_copy",
    "row_shares",
    "squared_distances",
]

ROW_TOLERANCE = 1e-5
CORRELATION_TOLERANCE = 1e-5
LINES = 3
PARTS = 16
# What the looks allow for their own round-off.
SLACK = 1e-6
# Nothing is further from its mean than its range, and something as far as half of it.
VARYING = 2 * (1 + SLACK) * CONSTANT_TOLERANCE
# Centred and of norm 1, copies have |u -+ v|^2 = 2 - 2 |correlation| < 2e-5; twice that is plainly apart.
FAR = 4 * CORRELATION_TOLERANCE


def row_shares(rows: Tensor, native: bool = False, last: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Shares of rows that copy no earlier one, and of those that have a copy at all, each ``(S,)``.

    Args:
        rows: ``(S, n, d)``. Copies agree to ``ROW_TOLERANCE`` of the largest norm.
        native: whether the lab's kernels look first (float32, contiguous, on the CPU).
        last: one more entry of each row, ``(S, n)``.
    """
    lines = _lines(rows.shape[2] + (last is not None)).to(rows.device)
    tolerance = (1 + SLACK) * ROW_TOLERANCE
    if native:
        doubtful = kernels.look_at_rows(rows, last, lines, tolerance)
    else:
        doubtful = _near_on_lines(_with(rows, last), lines, tolerance)
    none = torch.zeros(2, len(rows), dtype=torch.float64, device=rows.device)
    none[0] = 1
    distinct, copying = _settled(none, doubtful, lambda chosen: _compared(_with(rows, last, chosen)))
    return distinct, copying


def _with(rows: Tensor, last: Tensor | None, chosen: Tensor | slice = slice(None)) -> Tensor:
    """Rows of some members with their last entries, ``(k, n, d + 1)``."""
    return rows[chosen] if last is None else torch.cat([rows[chosen], last[chosen][..., None]], -1)


def _compared(rows: Tensor) -> Tensor:
    """What ``row_shares`` says, ``(2, S)``, by comparing all pairs."""
    # Divided by the largest entry, tiny and huge rows are compared alike.
    rows = scaled(rows.to(torch.float64))
    limit = ROW_TOLERANCE**2 * rows.square().sum(-1).amax(-1)
    copies = squared_distances(rows) <= limit[:, None, None]
    return torch.stack([distinct_share(copies), copying_share(copies)])


def functional_share(low: Tensor, high: Tensor, doubtful: Tensor, activations: Callable[[Tensor], Tensor]) -> Tensor:
    """Share of units that copy no earlier unit, by their activations: ``(S,)``.

    Copies have abs(correlation) > 1 - ``CORRELATION_TOLERANCE``; constant units copy each other.

    Args:
        low, high: smallest and largest activation of each unit, ``(S, units)`` float64.
        doubtful: ``(S,)``, whether units that vary may be copies.
        activations: of some members, ``(k,)`` by their numbers: ``(k, samples, units)``.
    """
    reach, size = high - low, torch.maximum(-low, high)
    constant = reach <= CONSTANT_TOLERANCE * size
    varying = reach > VARYING * size
    distinct = varying.sum(1) + constant.any(1)
    share = distinct.to(torch.float64) / low.shape[1]
    doubtful = doubtful | ~(constant | varying).all(1)
    return _settled(share, doubtful, lambda chosen: distinct_share(functional_copies(activations(chosen))))


def distinct_share(copies: Tensor) -> Tensor:
    """Share of units that copy no earlier unit. copies: ``(S, n, n)`` booleans -> ``(S,)``."""
    has_earlier_copy = copies.tril(-1).any(-1)
    return 1 - has_earlier_copy.to(torch.float64).mean(-1)


def copying_share(copies: Tensor) -> Tensor:
    """Share of units that have a copy, earlier or later. copies: ``(S, n, n)`` -> ``(S,)``."""
    has_copy = (copies.tril(-1) | copies.triu(1)).any(-1)
    return has_copy.to(torch.float64).mean(-1)


def squared_distances(rows: Tensor) -> Tensor:
    """``(S, n, d) -> (S, n, n)``; by the Gram matrix, whose float64 error, 1e-16 of the
    largest squared norm, lies far below the tolerance squared, 1e-10 of it."""
    gram = rows @ rows.mT
    squares = gram.diagonal(dim1=-2, dim2=-1)
    return squares[..., :, None] + squares[..., None, :] - 2 * gram


def functional_copies(a: Tensor) -> Tensor:
    """Which units of ``(S, samples, units)`` are copies, pair by pair: ``(S, units, units)``."""
    units = a.mT.to(torch.float64)
    centred = units - units.mean(-1, keepdim=True)
    size = units.abs().amax(-1)
    constant = centred.abs().amax(-1) <= CONSTANT_TOLERANCE * size
    # Scaled before the norm is taken, so that tiny activations don't underflow.
    centred = centred / torch.where(size > 0, size, 1.0)[..., None]
    unit = torch.nn.functional.normalize(centred, dim=-1, eps=1e-300)
    correlated = (unit @ unit.mT).abs() > 1 - CORRELATION_TOLERANCE
    varying = ~constant
    copies = correlated & varying[..., :, None] & varying[..., None, :]
    return copies | (constant[..., :, None] & constant[..., None, :])


def _settled(values: Tensor, doubtful: Tensor, exactly: Callable[[Tensor], Tensor]) -> Tensor:
    """``values (..., S)``, with exact ones in the places of members that are doubtful."""
    chosen = doubtful.nonzero()[:, 0]
    if len(chosen):
        values[..., chosen] = exactly(chosen)
    return values


def _near_on_lines(rows: Tensor, lines: Tensor, tolerance: float) -> Tensor:
    """Whether on every line some rows ``(S, n, d)`` lie within the tolerance of the largest norm: ``(S,)``.

    What agrees is as near on any line, so members whose places on one are all further from
    each other have no copies.
    """
    rows = scaled(rows.to(torch.float64))
    limit = tolerance * rows.square().sum(-1).amax(-1).sqrt()
    places = (rows @ lines.T).sort(1).values
    near: Tensor = ~(places.diff(dim=1) > limit[:, None, None]).all(1).any(1)
    return near


@lru_cache(maxsize=64)
def _lines(dimension: int) -> Tensor:
    """Fixed random directions of norm 1, ``(LINES, dimension)``."""
    drawn = torch.randn(LINES, dimension, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lines: Tensor = drawn / drawn.norm(dim=1, keepdim=True)
    return lines


def may_copy(spread: Spread, parts: int) -> Tensor:
    """Whether any two units that vary may be copies up to the sign: ``(S,)``.

    Sums over equal parts of the samples, divided by the root of their length, are a projection,
    under which nothing gets further apart; what is apart there is apart.
    """
    length = spread.away.shape[1] // parts
    sums = spread.away.reshape(len(spread.away), parts, length, -1).sum(2)
    sums = sums - (length * spread.offset)[:, None].to(sums.dtype)
    varying = spread.high - spread.low > VARYING * spread.size
    norm = torch.where(varying, spread.energy, torch.inf).sqrt() * math.sqrt(length)
    places = sums / norm[:, None].to(sums.dtype)
    gram = places.mT @ places
    # Units that don't vary have place 0; they are far from everything.
    squares = gram.diagonal(dim1=-2, dim2=-1) + (~varying).to(gram.dtype)
    apart = squares[:, :, None] + squares[:, None, :] - 2 * gram.abs()
    apart.diagonal(dim1=-2, dim2=-1).fill_(torch.inf)
    close: Tensor = ~(apart.flatten(1).amin(1) > FAR)
    return close
