"""Rank: how many directions are left, of the weights and of the activations.

Each is divided by the largest value it can have, so that 1 means "as many as there can be".
"""

import torch
from torch import Tensor

from pipeline.probes.numeric import centred, elementwise, on_cpu, quotient, scaled
from pipeline.probes.registry import About, Cost, Pool, layer_probe
from pipeline.probes.state import LayerState

__all__ = ["effective_rank", "participation_ratio", "srank", "stable_rank"]

SRANK_DELTA = 0.01


@layer_probe(
    "redundancy/effective_rank",
    Pool.LAYERS,
    Cost.STANDARD,
    About(
        "exp(-sum_k p_k ln p_k) / min(units, fan-in), with p_k = s_k / sum s over the singular values s of W; those "
        "below about 1e-7 of the largest count as 0. 0 for W = 0",
        "Roy & Vetterli 2007, eq. 4",
        "W = I: 1; all rows equal, 4 x 4: 1/4; W = diag(1, 1, 0, 0): 2/4",
        "'Effective rank' also names srank (Kumar et al. 2021), the stable rank, and entropies of squared singular "
        "values; here it is always the entropy of the singular values themselves.",
    ),
    headline=True,
)
def effective_rank(layer: LayerState) -> Tensor:
    values = layer.singular_values
    total = values.sum(-1)
    p = values / torch.where(total > 0, total, 1.0)[:, None]
    entropy = elementwise(torch.special.entr, p).sum(-1)
    rank = elementwise(torch.exp, entropy) / values.shape[-1]
    return torch.where(total > 0, rank, 0.0)


@layer_probe(
    "redundancy/stable_rank",
    Pool.LAYERS,
    Cost.FULL,
    About(
        "(|W|_F^2 / |W|_2^2) / min(units, fan-in), which is sum s^2 / max s^2 over the singular values s of W. 0 for "
        "W = 0",
        "Rudelson & Vershynin 2007, who call it the numerical rank",
        "W = I: 1; W = diag(2, 1, 1, 0): (6 / 4) / 4",
        "Usually given undivided, between 1 and the rank; multiply by min(units, fan-in) to compare. It is squared "
        "throughout; |W|_F / |W|_2 without squares is met under the same name.",
    ),
)
def stable_rank(layer: LayerState) -> Tensor:
    squares = layer.singular_values.square()
    return quotient(squares.sum(-1), squares.amax(-1)) / squares.shape[-1]


@layer_probe(
    "redundancy/srank",
    Pool.LAYERS,
    Cost.FULL,
    About(
        "(smallest k with s_1 + ... + s_k >= 0.99 (s_1 + s_2 + ...)) / min(samples, units), s the singular values, "
        "in falling order, of the activations (samples x units), not centred. 0 for activations that are all 0",
        "Kumar et al. 2021, 'Implicit under-parameterization', with their delta = 0.01",
        "activations diag(98, 1, 1): (2 / 3); the identity of size 4: 4 / 4",
        "Kumar et al. call it the effective rank, take the last hidden layer's features alone and don't divide.",
    ),
    signals=True,
)
def srank(layer: LayerState) -> Tensor:
    assert layer.a is not None
    values: Tensor = on_cpu(torch.linalg.svdvals, scaled(layer.a.to(torch.float64)))
    total = values.sum(-1, keepdim=True)
    # Round-off must not push a sum that reaches the share exactly below it.
    short = values.cumsum(-1) < (1 - SRANK_DELTA) * total * (1 - 1e-12)
    count = short.sum(-1) + (total[:, 0] > 0)
    return count.to(values.dtype) / values.shape[-1]


@layer_probe(
    "redundancy/participation_ratio",
    Pool.LAYERS,
    Cost.FULL,
    About(
        "((sum l)^2 / sum l^2) / min(samples - 1, units), l the eigenvalues of the covariance of the activations over "
        "the probe batch. 0 for constant activations",
        "the participation ratio of random-matrix physics; of neural activity: Gao et al. 2017, 'A theory of "
        "multineuronal dimensionality, dynamics and measurement'",
        "two uncorrelated units of equal variance: 1; of variances 3 and 1: (16 / 10) / 2",
    ),
    signals=True,
)
def participation_ratio(layer: LayerState) -> Tensor:
    assert layer.a is not None
    away = centred(layer.a)
    # The sums of eigenvalues and of their squares, without an eigenvalue: trace and Frobenius norm.
    covariance = away.mT @ away
    trace = covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    largest = min(max(layer.a.shape[1] - 1, 1), layer.a.shape[2])
    return quotient(trace.square(), covariance.square().sum((-2, -1))) / largest
