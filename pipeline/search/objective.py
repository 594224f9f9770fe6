"""What a search optimises: a number for each trial, finite whatever became of its networks."""

import math
from collections.abc import Sequence

import numpy as np

from pipeline.records import MemberRecord, TrialRecord

__all__ = ["Objective"]

# Stands for a loss that isn't finite: a NaN would make the trial FAIL. Finite ones stay below.
DIVERGED_LOSS = 1e6
LARGEST_LOSS = 0.999e6


class Objective:
    """The mean of a metric over replicates.

    Attributes:
        name: ``val/accuracy`` or ``val/loss``. minimize: whether small values are good.
    """

    def __init__(self, name: str) -> None:
        self.name, self.minimize = name, name == "val/loss"

    def of(self, record: TrialRecord) -> float:
        """Of networks at their end."""
        return self._finite(math.nan if record.diverged and self.minimize else record.mean(self.name))

    def so_far(self, trained: Sequence[MemberRecord]) -> float:
        """Of networks on their way, by the last value of each."""
        curves = [member.curves[self.name] for member in trained]
        return self._finite(float(np.mean([curve[max(curve)] for curve in curves])))

    def _finite(self, value: float) -> float:
        if not self.minimize:
            return value  # a network that diverged has an accuracy of 0
        return min(value, LARGEST_LOSS) if math.isfinite(value) else DIVERGED_LOSS
