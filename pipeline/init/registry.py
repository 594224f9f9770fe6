"""The registries of weight and bias schemes: one place feeds configuration, docs and tests."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BIASES", "WEIGHTS", "BiasScheme", "Fans", "WeightScheme", "bias_scheme", "weight_scheme"]


@dataclass(frozen=True)
class Fans:
    """Connections into and out of one unit of a weight of shape ``(out, in, *kernel)``."""

    fan_in: int
    fan_out: int

    @classmethod
    def of(cls, shape: torch.Size | tuple[int, ...]) -> "Fans":
        """Fans from one member's own shape; a stack's leading axis must not be among it."""
        out, inp, *kernel = shape
        receptive = 1
        for size in kernel:
            receptive *= size
        return cls(inp * receptive, out * receptive)


WeightSampler = Callable[[tuple[int, ...], torch.Generator], Tensor]
BiasSampler = Callable[[int, Fans, float, torch.Generator], Tensor]


@dataclass(frozen=True)
class WeightScheme:
    """A rule for weights at scale 1.

    Attributes:
        sample: ``(shape, generator) -> float64 weight`` of that shape.
        source: paper and equation.
        scaled: False where a scale has nothing to multiply.
    """

    name: str
    sample: WeightSampler
    source: str
    scaled: bool = True


@dataclass(frozen=True)
class BiasScheme:
    """A rule for biases.

    Attributes:
        sample: ``(units, fans of the layer's weight, value, generator) -> float64 bias``.
        source: where the rule comes from.
        valued: False where ``bias_init.value`` has no effect.
    """

    name: str
    sample: BiasSampler
    source: str
    valued: bool = True


WEIGHTS: dict[str, WeightScheme] = {}
BIASES: dict[str, BiasScheme] = {}


def weight_scheme(name: str, source: str, scaled: bool = True) -> Callable[[WeightSampler], WeightSampler]:
    """Registers a weight sampler under ``name``."""

    def register(sample: WeightSampler) -> WeightSampler:
        WEIGHTS[name] = WeightScheme(name, sample, source, scaled)
        return sample

    return register


def bias_scheme(name: str, source: str, valued: bool = True) -> Callable[[BiasSampler], BiasSampler]:
    """Registers a bias sampler under ``name``."""

    def register(sample: BiasSampler) -> BiasSampler:
        BIASES[name] = BiasScheme(name, sample, source, valued)
        return sample

    return register
