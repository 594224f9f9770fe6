"""Which weights read a layer's activations."""

import pytest
import torch
from torch import nn

from pipeline.layers import is_sequential, trace_layers
from pipeline.models import CNN, MLP


def readers(module: nn.Module, *shape: int) -> dict[str, tuple[str, ...]]:
    return {layer.name: layer.readers for layer in trace_layers(module, torch.zeros(2, *shape)) if layer.hidden}


@pytest.mark.parametrize(
    ("modules", "shape", "expected"),
    [
        ([nn.Linear(5, 4), nn.ReLU(inplace=True), nn.Linear(4, 3)], (5,), ("2.weight",)),
        ([nn.Linear(5, 4), nn.Tanh(), nn.Dropout(0.5), nn.Linear(4, 3)], (5,), ("3.weight",)),
        ([nn.Linear(5, 4), nn.Tanh(), nn.LayerNorm(4), nn.Linear(4, 3)], (5,), ()),
        ([nn.Conv1d(1, 6, 3), nn.Tanh(), nn.Conv1d(6, 2, 1)], (1, 5), ("2.weight",)),
        ([nn.Conv1d(1, 6, 3), nn.Tanh(), nn.Conv1d(6, 6, 3, groups=6)], (1, 5), ()),
        ([nn.Conv1d(1, 6, 3), nn.Tanh(), nn.ConvTranspose1d(6, 6, 3)], (1, 5), ()),
        ([nn.Conv1d(1, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(18, 2)], (1, 5), ("3.weight",)),
        ([nn.Conv1d(1, 6, 3), nn.Tanh(), nn.Linear(3, 2)], (1, 5), ()),
        ([nn.Conv1d(1, 6, 3), nn.Tanh(), nn.AvgPool1d(3), nn.Flatten(), nn.Linear(6, 2)], (1, 5), ("4.weight",)),
        ([nn.Conv1d(1, 6, 3), nn.Tanh(), nn.MaxPool1d(2), nn.Conv1d(6, 2, 1)], (1, 6), ("3.weight",)),
        ([nn.Conv1d(1, 6, 3), nn.Tanh(), nn.MaxPool1d(2), nn.Sigmoid(), nn.Conv1d(6, 2, 1)], (1, 6), ()),
        ([nn.Conv1d(1, 6, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6, 2)], (1, 6), ()),
        ([nn.Linear(5, 4), nn.Tanh(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(8, 3)], (4, 5), ()),
        ([nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)], (7, 5), ("2.weight",)),
        ([nn.Linear(5, 4), nn.Tanh(), nn.Flatten(), nn.Linear(28, 3)], (7, 5), ()),
    ],
)
def test_readers(modules, shape, expected):
    assert readers(nn.Sequential(*modules), *shape) == {"0": expected}


class TwoHeads(nn.Module):
    """Activations read by two layers and, summed with something, by a third."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d = nn.Linear(5, 4), nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)
        self.act = nn.Tanh()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act(self.a(x))
        return self.b(h) + self.c(h) + self.d(h + 1)


def test_all_readers_are_found():
    assert readers(TwoHeads(), 5) == {"a": ("b.weight", "c.weight")}


class Skipping(nn.Module):
    """A skip connection in place, which leaves no trace in where tensors lie."""

    def __init__(self, skip: float) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(5, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.act, self.skip = nn.Tanh(), skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.act(self.a(x))
        z = self.b(h)
        z += self.skip * h
        return self.out(self.act(z))


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (MLP((2, 3), 3), (2, 3), True),
        (CNN((8, 8), 3, convs=2, hidden=4, dropout=0.5), (8, 8), True),
        (CNN((64,), 3, pooling="avg", image_shape=(1, 8, 8)), (64,), True),
        (nn.Linear(5, 3), (5,), True),
        (nn.Sequential(nn.Conv1d(1, 6, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(18, 2)), (1, 5), True),
        (nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)), (7, 5), True),
        (Skipping(0.0), (5,), True),
        (Skipping(0.5), (5,), False),
        (TwoHeads(), (5,), False),
        (nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 3)), (5,), False),
        (nn.Sequential(nn.Linear(5, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3)), (5,), False),
        (nn.Sequential(nn.Conv1d(1, 6, 3), nn.Tanh(), nn.Softplus(), nn.Flatten(), nn.Linear(18, 2)), (1, 5), False),
        (nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3), nn.Softplus()), (5,), False),
        (nn.Sequential(nn.Tanh()), (5,), False),
    ],
)
def test_what_is_one_layer_after_the_other(module, shape, expected):
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    assert is_sequential(module, trace_layers(module, x), x) == expected
