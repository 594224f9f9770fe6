"""Networks that tests train: the shipped one and others that nothing may fail on."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline import native as kernels
from pipeline.activations import ACTIVATIONS
from pipeline.init import FitData
from pipeline.models import CNN, MLP
from pipeline.probes.look import Look, look, sought


class Residual(nn.Module):
    """Two blocks with skip connections and layer normalisation."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.inp = nn.Linear(features, 12)
        self.norm = nn.LayerNorm(12)
        self.a = nn.Linear(12, 12)
        self.act_a = nn.GELU()
        self.b = nn.Linear(12, 12, bias=False)
        self.act_b = nn.Tanh()
        self.out = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inp(x)
        h = h + self.act_a(self.a(self.norm(h)))
        h = h + self.act_b(self.b(h))
        return self.out(h)


class Convolutional(nn.Module):
    """A small CNN for rows of 13 features, seen as one channel of length 13."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 6, 3, padding=1)
        self.act = nn.ReLU()
        self.out = nn.Linear(6 * features, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.act(self.conv(x[:, None])).flatten(1))


def pooled(features: int, classes: int) -> nn.Module:
    """The shipped CNN, for rows of 13 features seen as an image of 4 x 4 with three black pixels."""
    network = CNN((16,), classes, depth=2, width=3, hidden=5, image_shape=(1, 4, 4))
    return nn.Sequential(nn.ConstantPad1d((0, 16 - features), 0.0), network)


def normalised(features: int, classes: int) -> nn.Module:
    """With running statistics, which are buffers. (A bias before it would get no gradient but
    round-off, which Adam blows up to full steps.)"""
    return nn.Sequential(nn.Linear(features, 9, bias=False), nn.BatchNorm1d(9), nn.Sigmoid(), nn.Linear(9, classes))


NETWORKS: dict[str, Callable[[int, int], nn.Module]] = {
    **{f"mlp-{a}": (lambda f, c, a=a: MLP((f,), c, depth=2, width=7, activation=a)) for a in sorted(ACTIVATIONS)},
    "residual": Residual,
    "convolutional": Convolutional,
    "cnn": pooled,
    "batchnorm": normalised,
}


# Schemes of which nothing can be compared: with all units of a layer equal, LayerNorm divides
# round-off by sqrt(eps), and where a channel copies pixels to equal maxima of a pool, round-off
# chooses the one that learns.
UNSTABLE = {"residual": ("constant", "tied", "row_tied"), "cnn": ("zero_init",)}


def fit_data(features: int = 13, classes: int = 3, rows: int = 64) -> FitData:
    """Made-up training data for the data-dependent schemes."""
    g = torch.Generator().manual_seed(7)
    x = torch.randn(rows, features, generator=g, dtype=torch.float64)
    return FitData(x, torch.arange(rows) % classes, classes)


def build(name: str, features: int, classes: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return NETWORKS[name](features, classes)


def looked(z: Tensor, a: Tensor, activation: str, native: bool) -> Look:
    """A look at a layer's signals ``(S, samples, units)``, by the kernels or by torch."""
    phi = ACTIVATIONS[activation]
    if not native:
        return look(z, a, phi)
    wanted = sought(phi, z.shape[1])
    return Look.of(kernels.look(z, a, wanted))
