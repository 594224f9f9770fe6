"""What a training leaves behind: plain numbers, with no torch in them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

__all__ = ["Curve", "LayerLook", "LayerRow", "MemberRecord", "TrialRecord", "Verdict"]

Curve = dict[int, float]
"""step -> value"""


@dataclass(frozen=True)
class Verdict:
    """What is said of an init before training.

    Attributes:
        score: 0..1, higher for what trains to a higher accuracy.
        sentence: the reason, for people.
        hopeless: whether the score is so low that training is not worth it.
        certain: whether what the score is made of holds for such a network.
    """

    score: float
    sentence: str
    hopeless: bool
    certain: bool = True


class LayerRow(NamedTuple):
    """One probe of one hidden layer at one step, as a row of ``layers.parquet``."""

    step: int
    layer: str
    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class LayerLook:
    """What the probes found in single layers at one step.

    Attributes:
        of: the layer and the metric of each value; shared by members.
    """

    step: int
    of: Sequence[tuple[str, str]]
    values: Sequence[float]


@dataclass
class MemberRecord:
    """One trained network.

    Attributes:
        seed: the member's seed.
        final: the metrics at the end; init: the same before the first step.
        curves: the metrics on the way, against the step.
        looks: probes by layer, one entry a step.
        diverged_step: the first step whose loss was not finite, None if there was none.
        failed: the probes that failed on it at some step, where their value is NaN, and with what error first.
        execution: the mode in which it was trained.
        state: the trained ``state_dict`` as arrays, where it was asked for.
    """

    seed: int
    final: dict[str, float] = field(default_factory=dict)
    init: dict[str, float] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=dict)
    looks: list[LayerLook] = field(default_factory=list)
    diverged_step: int | None = None
    failed: dict[str, str] = field(default_factory=dict)
    execution: str = ""
    state: dict[str, np.ndarray] | None = None

    @property
    def layers(self) -> list[LayerRow]:
        """Probes by layer, row by row."""
        return [
            LayerRow(look.step, *of, value)
            for look in self.looks
            for of, value in zip(look.of, look.values, strict=True)
        ]

    def copied(self) -> "MemberRecord":
        """The same, to which more may be added."""
        curves = {name: dict(curve) for name, curve in self.curves.items()}
        return replace(
            self,
            final=dict(self.final),
            init=dict(self.init),
            curves=curves,
            looks=list(self.looks),
            failed=dict(self.failed),
        )

    def lacks(self, name: str, value: float) -> bool:
        """Whether a value is missing because its probe failed, and not because the network diverged."""
        return name in self.failed and math.isnan(value) and self.diverged_step is None

    def add(self, step: int, names: Sequence[str], values: Iterable[float]) -> None:
        """Adds a point to each of some curves."""
        curves = self.curves
        for name, value in zip(names, values, strict=False):
            if name in curves:
                curves[name][step] = value
            else:
                curves[name] = {step: value}


@dataclass(frozen=True)
class TrialRecord:
    """The replicates of one trial, and what was said of it before.

    Attributes:
        members: one record a replicate; none if the trial was not trained.
        reason: why it was stopped before its end, empty if it was not.
    """

    members: Sequence[MemberRecord]
    verdict: Verdict | None = None
    reason: str = ""

    @property
    def pruned(self) -> bool:
        """Whether it was not trained to its end."""
        return bool(self.reason) or not self.members

    @property
    def diverged(self) -> int:
        """How many replicates diverged."""
        return sum(m.diverged_step is not None for m in self.members)

    @property
    def failed(self) -> dict[str, str]:
        """The probes that failed on a replicate, with the first of its errors, and which replicate it was."""
        found: dict[str, str] = {}
        for member in self.members:
            found = {name: f"{error} (seed {member.seed})" for name, error in member.failed.items()} | found
        return found

    @property
    def unmeasured(self) -> int:
        """How many replicates a probe failed on."""
        return sum(bool(m.failed) for m in self.members)

    def _measured(self, name: str, values: Sequence[float]) -> Sequence[float]:
        """Of the values of a metric, one a replicate, those that its probe has not failed to find."""
        if not any(name in m.failed for m in self.members):
            return values
        found = [v for m, v in zip(self.members, values, strict=True) if not m.lacks(name, v)]
        return found or [math.nan]

    def mean(self, name: str) -> float:
        """Mean of a final metric over replicates, NaN if one lacks it."""
        return _mean(self._measured(name, [m.final.get(name, math.nan) for m in self.members]))

    def means(self) -> dict[str, float]:
        """Final metrics, and those before the first step as ``init/...``: means over replicates."""
        finals = {name: self.mean(name) for name in self.members[0].final}
        inits = {
            f"init/{name}": _mean(self._measured(name, [m.init.get(name, math.nan) for m in self.members]))
            for name in self.members[0].init
        }
        return finals | inits

    def spread(self, name: str) -> float:
        """Standard deviation of a final metric over replicates (ddof 1), 0 for a single one."""
        values = self._measured(name, [m.final[name] for m in self.members])
        return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

    def curves(self) -> dict[str, Curve]:
        """Curves averaged over replicates."""
        first = self.members[0].curves
        return {
            name: {step: _mean(self._measured(name, [m.curves[name][step] for m in self.members])) for step in curve}
            for name, curve in first.items()
        }


def _mean(values: Sequence[float]) -> float:
    return float(sum(values)) / len(values)
