"""Bias schemes, in float64. ``value`` is the constant, or the spread of a random one."""

import math

import torch
from torch import Generator, Tensor

from pipeline.init.registry import Fans, bias_scheme

__all__: list[str] = []


def _uniform(units: int, bound: float, generator: Generator) -> Tensor:
    return (2 * torch.rand(units, dtype=torch.float64, generator=generator) - 1) * bound


@bias_scheme("zeros", "Every bias 0.", valued=False)
def zeros(units: int, fans: Fans, value: float, generator: Generator) -> Tensor:
    return torch.zeros(units, dtype=torch.float64)


@bias_scheme("constant", "Every bias equal to the value.")
def constant(units: int, fans: Fans, value: float, generator: Generator) -> Tensor:
    return torch.full((units,), value, dtype=torch.float64)


@bias_scheme("uniform", "U(-|value|, |value|).")
def uniform(units: int, fans: Fans, value: float, generator: Generator) -> Tensor:
    return _uniform(units, abs(value), generator)


@bias_scheme("normal", "N(0, value^2).")
def normal(units: int, fans: Fans, value: float, generator: Generator) -> Tensor:
    return torch.randn(units, dtype=torch.float64, generator=generator) * abs(value)


@bias_scheme("pytorch", "U(+-1/sqrt(n_in)): torch.nn.Linear's default.", valued=False)
def pytorch(units: int, fans: Fans, value: float, generator: Generator) -> Tensor:
    return _uniform(units, math.sqrt(1 / fans.fan_in), generator)
