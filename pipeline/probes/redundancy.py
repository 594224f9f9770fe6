"""Redundancy: which neurons are copies of each other, and how many directions are left."""

import torch
from torch import Tensor

from pipeline.probes.registry import Pool, layer_probe
from pipeline.probes.snapshot import LayerState

__all__ = ["effective_rank", "effective_width", "functional_width", "row_cosine"]

ROW_TOLERANCE = 1e-5
CORRELATION_TOLERANCE = 1e-5
# The precision of float32, in which activations are computed.
CONSTANT_TOLERANCE = 1e-7


def _distinct_share(copies: Tensor) -> Tensor:
    """Share of units that copy no earlier unit. copies: ``(S, n, n)`` booleans -> ``(S,)``."""
    has_earlier_copy = copies.tril(-1).any(-1)
    return 1 - has_earlier_copy.to(torch.float64).mean(-1)


def _squared_distances(rows: Tensor) -> Tensor:
    """``(S, n, d) -> (S, n, n)``; by the Gram matrix, whose float64 error, 1e-16 of the
    largest squared norm, lies far below the tolerance squared, 1e-10 of it."""
    gram = rows @ rows.mT
    squares = gram.diagonal(dim1=-2, dim2=-1)
    return squares[..., :, None] + squares[..., None, :] - 2 * gram


@layer_probe(
    "redundancy/effective_width",
    Pool.UNITS,
    "Distinct hidden neurons / hidden neurons. Copies: [incoming row, bias] agree to 1e-5 of the largest row norm.",
)
def effective_width(layer: LayerState) -> Tensor:
    rows = layer.rows
    # Divided by the largest norm, tiny and huge weights are compared alike.
    largest = rows.norm(dim=-1).amax(-1)
    rows = rows / torch.where(largest > 0, largest, 1.0)[:, None, None]
    return _distinct_share(_squared_distances(rows) <= ROW_TOLERANCE**2)


@layer_probe(
    "redundancy/functional_width",
    Pool.UNITS,
    "As effective width, on centred activations: abs(correlation) > 1 - 1e-5. Constant units count as one.",
)
def functional_width(layer: LayerState) -> Tensor:
    assert layer.a is not None
    units = layer.a.mT
    centred = units - units.mean(-1, keepdim=True)
    size = units.abs().amax(-1)
    constant = centred.abs().amax(-1) <= CONSTANT_TOLERANCE * size
    # Scaled before the norm is taken, so that tiny activations don't underflow.
    centred = centred / torch.where(size > 0, size, 1.0)[..., None]
    unit = torch.nn.functional.normalize(centred, dim=-1, eps=1e-300)
    correlated = (unit @ unit.mT).abs() > 1 - CORRELATION_TOLERANCE
    varying = ~constant
    copies = correlated & varying[..., :, None] & varying[..., None, :]
    return _distinct_share(copies | (constant[..., :, None] & constant[..., None, :]))


@layer_probe(
    "redundancy/effective_rank",
    Pool.LAYERS,
    "exp(entropy of the normalised singular values) / largest possible rank: Roy & Vetterli 2007, eq. 4. 0 for W = 0.",
)
def effective_rank(layer: LayerState) -> Tensor:
    # Scaled to at most 1 in size, so that no singular value underflows.
    largest = layer.weight.abs().flatten(1).amax(1)
    values = torch.linalg.svdvals(layer.weight / torch.where(largest > 0, largest, 1.0)[:, None, None])
    total = values.sum(-1)
    p = values / torch.where(total > 0, total, 1.0)[:, None]
    rank = torch.exp(torch.special.entr(p).sum(-1)) / values.shape[-1]
    return torch.where(total > 0, rank, 0.0)


@layer_probe(
    "redundancy/row_cosine",
    Pool.LAYERS,
    "Mean abs(cosine) between different rows of W. Two zero rows count as equal (1), a zero and another as unrelated.",
)
def row_cosine(layer: LayerState) -> Tensor:
    weight = layer.weight
    n = weight.shape[1]
    largest = weight.abs().amax(-1)
    zero = largest == 0
    unit = torch.nn.functional.normalize(weight / torch.where(zero, 1.0, largest)[..., None], dim=-1)
    cosine = (unit @ unit.mT).abs() + (zero[..., :, None] & zero[..., None, :]).to(weight.dtype)
    if n == 1:
        return cosine.new_zeros(len(weight))
    off_diagonal = cosine.sum((-2, -1)) - cosine.diagonal(dim1=-2, dim2=-1).sum(-1)
    return off_diagonal / (n * (n - 1))
