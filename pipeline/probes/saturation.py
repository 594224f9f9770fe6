"""Saturation: which units sit where their activation is flat, and which act linearly."""

import torch
from torch import Tensor

from pipeline.probes.registry import Pool, layer_probe
from pipeline.probes.snapshot import LayerState

__all__ = ["dead_fraction", "flat_fraction", "linear_fraction"]


def _flat(layer: LayerState) -> Tensor:
    """``(S, samples, units)`` booleans."""
    assert layer.activation is not None
    assert layer.z is not None
    return layer.activation.flat(layer.z)


@layer_probe(
    "saturation/flat_fraction",
    Pool.UNITS,
    "Share of (unit, sample) with abs(phi'(z)) < 0.1 max abs(phi').",
)
def flat_fraction(layer: LayerState) -> Tensor:
    return _flat(layer).to(torch.float64).mean((1, 2))


@layer_probe(
    "saturation/dead_fraction",
    Pool.UNITS,
    "Share of units flat on every probe sample.",
)
def dead_fraction(layer: LayerState) -> Tensor:
    return _flat(layer).all(1).to(torch.float64).mean(1)


@layer_probe(
    "saturation/linear_fraction",
    Pool.UNITS,
    "Share of (unit, sample) where phi is within 5 % of its tangent at 0 (ReLU-like: of its active branch).",
)
def linear_fraction(layer: LayerState) -> Tensor:
    assert layer.activation is not None
    assert layer.z is not None
    return layer.activation.linear(layer.z).to(torch.float64).mean((1, 2))
