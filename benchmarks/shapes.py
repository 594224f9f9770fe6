"""The networks and data that the speed rows train, as plain modules of torch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

__all__ = ["SHAPES", "Shape"]

# The validation part of the speed rows: they count steps, and whole studies have a row of their own.
VALIDATION_ROWS = 32


@dataclass(frozen=True)
class Shape:
    """One structure on one dataset.

    Attributes:
        sizes: of a fully connected network, inputs first; empty for others.
        plain: builds it as a user of torch would.
        model: its name in ``pipeline.models`` and that class's arguments.
        overrides: the dataset in the lab's own keys, at the sizes that are trained on.
        members: networks that one measurement of the lab's side trains; on a GPU ``gpu_members``.
        epochs: epochs of one measurement of the lab's side, after a first one.
        peer_epochs: likewise of a peer, which trains one network.
        channels_last: whether the peers keep images so; for convolutions on a CPU it is faster.
    """

    dataset: str
    batch: int
    plain: Callable[[], nn.Module]
    model: tuple[str, Mapping[str, object]]
    overrides: tuple[str, ...]
    members: int
    epochs: int
    peer_epochs: int
    sizes: tuple[int, ...] = ()
    gpu_members: int = 256
    channels_last: bool = False

    @property
    def flops(self) -> int:
        """Floating-point operations of one step of one network: its matrix products alone.

        Three products a layer of 2 * batch * inputs * outputs (forward, and the gradients of
        weights and inputs), less that of the inputs of the first layer, which nobody needs.
        """
        pairs = list(pairwise(self.sizes))
        products = 3 * sum(a * b for a, b in pairs) - math.prod(pairs[0])
        return 2 * self.batch * products


def _mlp(*sizes: int) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), nn.Tanh()]
        return nn.Sequential(nn.Flatten(), *layers[:-1])  # the logits have no activation

    return build


def _cnn() -> nn.Module:
    """What ``pipeline.models.CNN`` is by default, for images of 28 x 28."""
    first = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    second = [nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(32 * 7 * 7, 10))


def _data(rows: int, train: int) -> tuple[str, ...]:
    """A training part of ``train`` rows and a validation part of ``VALIDATION_ROWS``, of ``rows`` in all."""
    # Half a row less: the split rounds up.
    return (f"dataset.val_fraction={(VALIDATION_ROWS - 0.5) / rows}", f"dataset.train_limit={train}")


SHAPES = {
    "digits": Shape(
        dataset="digits",
        batch=64,
        plain=_mlp(64, 64, 64, 10),
        model=("MLP", {"depth": 2, "width": 64, "activation": "tanh"}),
        overrides=_data(1797, 1077),
        members=64,
        epochs=20,
        peer_epochs=40,
        sizes=(64, 64, 64, 10),
    ),
    "mnist": Shape(
        dataset="mnist",
        batch=128,
        plain=_mlp(784, 256, 256, 10),
        model=("MLP", {"depth": 2, "width": 256, "activation": "tanh"}),
        overrides=_data(60_000, 6_400),
        members=16,
        epochs=3,
        peer_epochs=4,
        sizes=(784, 256, 256, 10),
    ),
    "cnn": Shape(
        dataset="mnist",
        batch=128,
        plain=_cnn,
        model=("CNN", {}),
        overrides=_data(60_000, 1_280),
        members=4,
        epochs=3,
        peer_epochs=4,
        channels_last=True,
    ),
}
