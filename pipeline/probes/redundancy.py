"""Redundancy: which neurons are copies of each other."""

import torch
from torch import Tensor

from pipeline.native import sum_cosines
from pipeline.probes.copies import functional_share, row_shares, squared_distances
from pipeline.probes.numeric import CONSTANT_TOLERANCE, scaled
from pipeline.probes.registry import About, Cost, Pool, layer_probe
from pipeline.probes.state import LayerState

__all__ = [
    "cloning_r2",
    "column_copies",
    "effective_width",
    "functional_width",
    "gradient_copies",
    "row_copies",
    "row_cosine",
]


@layer_probe(
    "redundancy/effective_width",
    Pool.UNITS,
    Cost.STANDARD,
    About(
        "distinct units / units. Two units are copies when their [incoming row, bias] agree to 1e-5 of the layer's "
        "largest such norm; a unit is distinct when it copies no earlier one",
        "the lab's own",
        "W = 0, b = 0, four units: 1/4; the same with b = (0, 1, 1, 2): 3/4; W = I: 1",
        "A network's width usually means units, copies included. `redundancy/row_copies` counts every unit that has a "
        "copy, so four equal units have effective width 1/4 and row copies 1.",
    ),
    headline=True,
)
def effective_width(layer: LayerState) -> Tensor:
    return layer.row_shares[0]


@layer_probe(
    "redundancy/functional_width",
    Pool.UNITS,
    Cost.STANDARD,
    About(
        "as effective width, on the activations: copies are units with abs(correlation over the probe batch) > "
        "1 - 1e-5. Constant units count together as one",
        "the lab's own",
        "activations (1, 2, 3), (1, 2, 3), (2, 1, 0) and (1, 1, 1) of four units: 2/4, as the third is the first "
        "turned round",
    ),
    headline=True,
)
def functional_width(layer: LayerState) -> Tensor:
    look = layer.look
    return functional_share(look.low, look.high, look.may_copy, layer.activations)


@layer_probe(
    "redundancy/row_cosine",
    Pool.LAYERS,
    Cost.STANDARD,
    About(
        "mean over pairs of different rows of W of abs(w_i . w_j) / (|w_i| |w_j|). Two zero rows count as equal (1), "
        "a zero row and another as unrelated (0)",
        "the lab's own",
        "W = I: 0; all rows equal: 1; rows (1, 0), (1, 1), (0, 0): sqrt(1/2) * 2/6",
    ),
    headline=True,
)
def row_cosine(layer: LayerState) -> Tensor:
    n = layer.units
    total, zeros = sum_cosines(layer.weight) if layer.native else _sum_cosines(layer.weight)
    return (total + zeros * (zeros - 1)) / max(n * (n - 1), 1)


def _sum_cosines(rows: Tensor) -> tuple[Tensor, Tensor]:
    """What the kernels find."""
    largest = rows.abs().amax(-1, keepdim=True)
    unit = torch.nn.functional.normalize(rows / torch.where(largest > 0, largest, 1.0), dim=-1)
    cosine = (unit @ unit.mT).abs().clamp(max=1)
    cosine.diagonal(dim1=-2, dim2=-1).fill_(0.0)
    return cosine.sum(-1).sum(-1, dtype=torch.float64), (largest[..., 0] == 0).sum(-1).to(torch.float64)


@layer_probe(
    "redundancy/row_copies",
    Pool.UNITS,
    Cost.STANDARD,
    About(
        "share of units whose [incoming row, bias] agrees with that of another unit of the layer, to 1e-5 of the "
        "largest such norm",
        "the lab's own",
        "four units, two of them equal: 2/4; all equal: 1; W = I: 0",
    ),
)
def row_copies(layer: LayerState) -> Tensor:
    return layer.row_shares[1]


@layer_probe(
    "redundancy/column_copies",
    Pool.UNITS,
    Cost.STANDARD,
    About(
        "share of units whose outgoing weights (columns of the layers that read it) agree with those of another unit, "
        "to 1e-5 of the largest such norm. Left out where anything but pooling of each channel, dropout or flattening "
        "stands between the activation and the next weights",
        "the lab's own",
        "outgoing columns (1, 2), (1, 2), (2, 1): 2/3",
    ),
)
def column_copies(layer: LayerState) -> Tensor | None:
    return None if layer.outgoing is None else row_shares(layer.outgoing, layer.native)[1]


@layer_probe(
    "redundancy/gradient_copies",
    Pool.UNITS,
    Cost.STANDARD,
    About(
        "share of units whose gradient of the loss by [incoming row, bias] agrees with that of another unit, to 1e-5 "
        "of the largest such norm. 1 where no gradient arrives: all are 0 then",
        "the lab's own; units that are copies and get equal gradients stay copies under gradient descent",
        "gradients (1, 0), (1, 0), (0, 1): 2/3; all 0: 1",
    ),
)
def gradient_copies(layer: LayerState) -> Tensor:
    return row_shares(layer.gradient, layer.native, layer.bias_gradient)[1]


@layer_probe(
    "redundancy/cloning_r2",
    Pool.UNITS,
    Cost.FULL,
    About(
        "mean over units i of max(0, 1 - min over j != i of sum_x (a_i(x) - a_j(x))^2 / sum_x (a_i(x) - mean a_i)^2): "
        "how well another unit's activation stands in for its own. A constant unit counts 1 if another equals it "
        "to 1e-7, else 0",
        "after the cloning R2 of Joudaki et al. 2025 (arXiv 2510.00304), one minus the unexplained variation among "
        "clones",
        "activations (0, 1), (0, 1), (1, 0) of three units over two samples: 2/3",
        "Joudaki et al. compare units that were made clones on purpose, so they know who belongs together, and relate "
        "their spread to that over all units, for activations and back-propagated gradients. Here nobody is known to "
        "be a clone: each unit is compared with the one nearest to it, relative to its own variance.",
    ),
    signals=True,
)
def cloning_r2(layer: LayerState) -> Tensor:
    assert layer.a is not None
    units = scaled(layer.a.mT.to(torch.float64))
    residual = squared_distances(units)
    residual.diagonal(dim1=-2, dim2=-1).fill_(torch.inf)
    nearest = residual.amin(-1).clamp(min=0)
    size = units.square().sum(-1)
    total = (units - units.mean(-1, keepdim=True)).square().sum(-1)
    negligible = CONSTANT_TOLERANCE**2 * size
    constant = total <= negligible
    explained = (1 - nearest / torch.where(constant, 1.0, total)).clamp(min=0)
    return torch.where(constant, (nearest <= negligible).to(explained.dtype), explained).mean(-1)
