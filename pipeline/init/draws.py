"""What schemes draw from: float64 normal and uniform tensors."""

import torch
from torch import Generator, Tensor

__all__ = ["normal", "uniform"]

Shape = tuple[int, ...]


def normal(shape: Shape, std: float, generator: Generator) -> Tensor:
    """N(0, std^2)."""
    return torch.randn(shape, dtype=torch.float64, generator=generator) * std


def uniform(shape: Shape, bound: float, generator: Generator) -> Tensor:
    """U(-bound, bound)."""
    return (2 * torch.rand(shape, dtype=torch.float64, generator=generator) - 1) * bound
