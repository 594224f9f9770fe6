"""Which weights read a layer's activations."""

import pytest
import torch
from torch import nn

from pipeline.layers import trace_layers


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
