"""What a question claims: a contrast between two arms in one metric, and a margin."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["ACCURACY", "LEARNS", "METRICS", "Claim", "Question", "label"]

ACCURACY = "test/accuracy"
LEARNS = 0.1
"""Mean accuracy above guessing from which on networks count as learning."""
BROKEN = "symmetry/broken"

METRICS = {
    ACCURACY: "test accuracy",
    "redundancy/effective_width": "effective width",
    "redundancy/functional_width": "functional width",
    "redundancy/effective_rank": "effective rank",
    "saturation/flat_fraction": "flat fraction",
    "saturation/linear_fraction": "linear fraction",
    BROKEN: "share of networks with no exact tie left",
}
"""How metrics are called in sentences and on axes."""


def label(metric: str) -> str:
    """The metric in words; ``init/...`` is the same before the first step."""
    name = METRICS[metric.removeprefix("init/")]
    return f"{name} before the first step" if metric.startswith("init/") else name


@dataclass(frozen=True)
class Claim:
    """``metric`` of arm ``a`` minus that of arm ``b``, against a margin.

    Attributes:
        text: the claim, true where the difference is as ``kind`` says.
        kind: ``more``: the difference is above ``margin``; ``same``: it lies within +-``margin``.
        noun: goes before an arm that is a number.
        b: an arm; None stands for the accuracy of always guessing the commonest class.
        b_metric: the metric of ``b``, where that is another one.
    """

    text: str
    metric: str
    a: str
    b: str | None
    kind: Literal["more", "same"]
    margin: float
    b_metric: str | None = None
    noun: str = ""

    @property
    def contrast(self) -> str:
        """The difference that is tested, in words."""
        name = label(self.metric)
        start = f"{name[0].upper()}{name[1:]} of {self.noun}{self.a}"
        if self.b_metric is not None:
            return f"{start} minus its {label(self.b_metric)}"
        return f"{start} minus that of {self.noun + self.b if self.b is not None else 'guessing'}"

    @property
    def bounds(self) -> tuple[float, ...]:
        """The differences that separate yes from no."""
        return (self.margin,) if self.kind == "more" else (-self.margin, self.margin)

    def holds_at(self, difference: float) -> bool:
        """Whether a difference, if it were exact, would make the claim true."""
        return difference > self.margin if self.kind == "more" else abs(difference) < self.margin


@dataclass(frozen=True)
class Question:
    """One of the seven questions.

    Attributes:
        metrics: those of the picture and the table, from the top.
        claims: what is tested.
        arms: the axis of the study that holds the arms.
        short: how it is told in a few sentences: what the ``subject`` arm reaches, which
            arm is ``best``, or over which ``range`` of a numeric axis it trains.
        subject: the arm that the sentences are about, or that the best one is set against.
    """

    name: str
    title: str
    metrics: tuple[str, ...]
    claims: tuple[Claim, ...]
    subject: str
    short: Literal["subject", "best", "range"] = "subject"
    arms: str = "arm"
