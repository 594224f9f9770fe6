"""What several probes need of a hidden layer's signals, worked out once for a whole stack."""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from pipeline import native as kernels
from pipeline.activations import Activation, Intervals
from pipeline.probes.copies import FAR, PARTS, VARYING, may_copy
from pipeline.probes.numeric import Spread, count_above

__all__ = ["Look", "look", "sought"]


@dataclass(frozen=True)
class Look:
    """Of each unit, over the samples; ``(S, units)`` in float64 where nothing else is said.

    Attributes:
        samples: how many there are.
        above: for some thresholds, on how many samples z is above.
        low, high: smallest and largest activation.
        mean, variance: of the activations.
        mean_size: mean of their absolute values.
        mean_away: mean of their distances from the middle of the activation's bounds.
        mean_slope: mean of phi'(z); None where it wasn't taken.
        may_copy: whether two units of a member may be copies, which is to be looked into; ``(S,)``.
    """

    samples: int
    above: dict[float, Tensor]
    low: Tensor
    high: Tensor
    mean: Tensor
    variance: Tensor
    mean_size: Tensor
    mean_away: Tensor
    may_copy: Tensor
    mean_slope: Tensor | None = None

    def inside(self, intervals: Intervals) -> Tensor:
        """On how many samples z is in one of the intervals."""
        found = torch.zeros_like(self.mean)
        for low, high in intervals:
            found += self.samples if low == -math.inf else self.above[low]
            found -= 0 if high == math.inf else self.above[high]
        return found

    def member(self, i: int) -> "Look":
        """Of one member by itself."""
        own = {name: value[i : i + 1] for name, value in vars(self).items() if isinstance(value, Tensor)}
        return Look(self.samples, {end: count[i : i + 1] for end, count in self.above.items()}, **own)

    @classmethod
    def of(cls, found: kernels.Found) -> "Look":
        """What the kernels found."""
        fields = dict(zip(kernels.FIELDS, found.values, strict=False))
        above = dict(zip(found.sought.thresholds, found.values[len(fields) :], strict=True))
        return cls(found.sought.samples, above, **fields, may_copy=found.may_copy)


@cache
def sought(activation: Activation, samples: int) -> kernels.Sought:
    """What is looked for in a layer, in the words of the kernels."""
    ends = {end for ends in (*activation.flat_where, *activation.linear_where) for end in ends}
    thresholds = sorted({end for end in ends if math.isfinite(end)} | {0.0})
    middle = sum(activation.bounds) / 2 if activation.bounds is not None else 0.0
    return kernels.Sought(samples, tuple(thresholds), middle, math.gcd(samples, PARTS), VARYING, FAR)


def look(z: Tensor, a: Tensor, activation: Activation) -> Look:
    """Looks at a layer, ``(S, samples, units)``, in any dtype on any device."""
    wanted = sought(activation, a.shape[1])
    above = {threshold: count_above(z, threshold) for threshold in wanted.thresholds}
    spread = Spread.of(a)
    size = a.abs().mean(1).to(torch.float64)
    away = size if wanted.middle == 0 else (a - wanted.middle).abs().mean(1).to(torch.float64)
    return Look(
        *(z.shape[1], above, spread.low, spread.high, spread.mean, spread.variance, size, away),
        may_copy=may_copy(spread, wanted.parts),
    )
