"""Two probes that fail on networks whose units are alike, and ``initlab`` with them: run as a script."""

import sys

import torch
from torch import Tensor

from pipeline.probes import PROBES, LayerProbe, NetworkProbe, Pool
from pipeline.probes.registry import About, Cost, Need

GRAM, WHOLE = "redundancy/log_volume", "signal/log_volume"


def log_volume(weight: Tensor) -> Tensor:
    """Cholesky's decomposition, which dependent rows don't have: torch refuses the whole stack for one of them."""
    rows = torch.nn.functional.normalize(weight.to(torch.float64), dim=-1)
    gram = rows @ rows.mT - 1e-9 * torch.eye(rows.shape[1], device=rows.device)
    return torch.linalg.cholesky(gram).diagonal(dim1=-2, dim2=-1).log().sum(-1)


ABOUT = About("the logarithm of the volume that the rows of W span", "the tests' own", "W = I: 0")
FAILING = {
    GRAM: LayerProbe(
        GRAM, Cost.LIGHT, ABOUT, True, Need.NOTHING, lambda layer: log_volume(layer.weight), Pool.UNITS, False, False
    ),
    WHOLE: NetworkProbe(
        WHOLE, Cost.LIGHT, ABOUT, True, Need.NOTHING, lambda snapshot: log_volume(snapshot.layers[0].weight)
    ),
}

if __name__ == "__main__":
    from pipeline.cli import main

    PROBES.update(FAILING)
    sys.exit(main(sys.argv[1:]))
