"""What several probes need of a hidden layer's signals, worked out once for a whole stack."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline import native as kernels
from pipeline.activations import Activation, Intervals
from pipeline.probes.copies import FAR, PARTS, VARYING, may_copy
from pipeline.probes.numeric import Spread, count_above

__all__ = ["Look", "look"]


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

    def inside(self, intervals: Intervals) -> Tensor:
        """On how many samples z is in one of the intervals."""
        found = torch.zeros_like(self.mean)
        for low, high in intervals:
            found += self.samples if low == -math.inf else self.above[low]
            found -= 0 if high == math.inf else self.above[high]
        return found


def look(z: Tensor, a: Tensor, activation: Activation, native: bool) -> Look:
    """Looks at a layer.

    Args:
        z, a: ``(S, samples, units)``.
        native: whether by the lab's kernels (float32, contiguous, on the CPU).
    """
    ends = {end for ends in (*activation.flat_where, *activation.linear_where) for end in ends}
    thresholds = sorted({end for end in ends if math.isfinite(end)} | {0.0})
    middle = sum(activation.bounds) / 2 if activation.bounds is not None else 0.0
    samples = z.shape[1]
    if native:
        parts = math.gcd(samples, PARTS)
        found, doubtful = kernels.look(z, a, thresholds, middle, parts, VARYING, FAR)
        fields = dict(zip(kernels.FIELDS, found, strict=False))
        above = dict(zip(thresholds, found[len(fields) :], strict=True))
        return Look(samples, above, **fields, may_copy=doubtful)
    above = {threshold: count_above(z, threshold) for threshold in thresholds}
    spread = Spread.of(a)
    size = a.abs().mean(1).to(torch.float64)
    away = size if middle == 0 else (a - middle).abs().mean(1).to(torch.float64)
    return Look(samples, above, spread.low, spread.high, spread.mean, spread.variance, size, away, may_copy(spread))
