"""The registries of weight and bias schemes: one place feeds configuration, docs and tests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pipeline.seeds import stream

__all__ = [
    "BIASES",
    "ROLES",
    "WEIGHTS",
    "BiasScheme",
    "Fans",
    "Role",
    "Slot",
    "WeightScheme",
    "bias_scheme",
    "weight_scheme",
]

Role = Literal["first", "hidden", "last"]
ROLES: tuple[Role, ...] = ("first", "hidden", "last")


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


@dataclass(frozen=True)
class Slot:
    """The place of a weight or bias in one network, and the randomness that belongs to it.

    Attributes:
        shape: of the weight, ``(out, in, *kernel)``; for a bias, of the weight beside it.
        role: where the layer stands; an only layer is the last.
        seed: the member's. name: the parameter's.
    """

    shape: tuple[int, ...]
    role: Role
    seed: int
    name: str

    @property
    def fans(self) -> Fans:
        return Fans.of(self.shape)

    @property
    def units(self) -> int:
        return self.shape[0]

    @property
    def generator(self) -> torch.Generator:
        """The parameter's own stream, from its beginning."""
        return stream(self.seed, self.name)

    @property
    def layer_generator(self) -> torch.Generator:
        """A stream that weight and bias of one layer share, for schemes that draw both."""
        return stream(self.seed, f"{self.name.rpartition('.')[0]} jointly")


WeightSampler = Callable[[Slot], Tensor]
BiasSampler = Callable[[Slot, float], Tensor]


@dataclass(frozen=True)
class WeightScheme:
    """A rule for weights at scale 1.

    Attributes:
        sample: ``slot -> float64 weight`` of the slot's shape.
        source: the rule, paper and equation.
        scaled: False where a scale has nothing to multiply.
        fitted: whether ``pipeline.init.fit`` then rescales it on training data.
    """

    name: str
    sample: WeightSampler
    source: str
    scaled: bool = True
    fitted: bool = False


@dataclass(frozen=True)
class BiasScheme:
    """A rule for biases.

    Attributes:
        sample: ``(slot, value) -> float64 bias`` of ``slot.units`` entries.
        source: the rule, and where it comes from.
        valued: False where ``bias_init.value`` has no effect.
        fitted: whether ``pipeline.init.fit`` then sets it from training data.
    """

    name: str
    sample: BiasSampler
    source: str
    valued: bool = True
    fitted: bool = False


WEIGHTS: dict[str, WeightScheme] = {}
BIASES: dict[str, BiasScheme] = {}


def weight_scheme(
    name: str, source: str, scaled: bool = True, fitted: bool = False
) -> Callable[[WeightSampler], WeightSampler]:
    """Registers a weight sampler under ``name``."""

    def register(sample: WeightSampler) -> WeightSampler:
        WEIGHTS[name] = WeightScheme(name, sample, source, scaled, fitted)
        return sample

    return register


def bias_scheme(
    name: str, source: str, valued: bool = True, fitted: bool = False
) -> Callable[[BiasSampler], BiasSampler]:
    """Registers a bias sampler under ``name``."""

    def register(sample: BiasSampler) -> BiasSampler:
        BIASES[name] = BiasScheme(name, sample, source, valued, fitted)
        return sample

    return register
