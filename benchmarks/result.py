"""A row's target, what was measured for it, and how the two make a result."""

import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["MIN_PAIRS", "Measured", "Result", "Target", "merge", "ratios", "read", "write"]

MIN_PAIRS = 5
"""A figure of fewer pairs doesn't pass, whatever it is."""

FIGURES: dict[str, Callable[[Sequence[float]], float]] = {
    "median": statistics.median,
    "mean": statistics.fmean,
    "largest": max,
}


@dataclass(frozen=True)
class Target:
    """A row of the table.

    Attributes:
        what: a line for people, with what is compared and how it is counted.
        bound: what is asked for; None for a row that only tells.
        at_most: whether the bound is an upper one.
        unit: of the figure; ``x`` for ratios.
        figure: how the pairs' values become one: median, mean, largest.
    """

    key: str
    what: str
    bound: float | None = None
    at_most: bool = False
    unit: str = "x"
    figure: str = "median"


@dataclass(frozen=True)
class Measured:
    """What came out.

    Attributes:
        values: one a pair.
        detail: what they were made of, by name and unit.
        remark: what a reader must know of how it was measured.
    """

    values: Sequence[float]
    detail: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""


@dataclass(frozen=True)
class Result:
    """A row's target and values as they are stored; without values it was not run, for ``reason``."""

    target: Target
    values: Sequence[float] = ()
    detail: Mapping[str, float] = field(default_factory=dict)
    remark: str = ""
    reason: str = ""
    date: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def figure(self) -> float:
        """The row's one number; NaN if there is none."""
        return FIGURES[self.target.figure](self.values) if self.values else math.nan

    @property
    def spread(self) -> tuple[float, float]:
        """The least and the largest value."""
        return (min(self.values), max(self.values)) if self.values else (math.nan, math.nan)

    @property
    def met(self) -> bool | None:
        """Whether the figure is what is asked; None if nothing is, or nothing was measured."""
        bound = self.target.bound
        if bound is None or not self.values:
            return None
        return self.figure <= bound if self.target.at_most else self.figure >= bound

    @property
    def passed(self) -> bool | None:
        """Whether it is so over enough pairs."""
        return self.met and len(self.values) >= MIN_PAIRS


def ratios(upper: Sequence[float], lower: Sequence[float]) -> list[float]:
    """One ratio a pair."""
    return [a / b for a, b in zip(upper, lower, strict=True)]


def merge(old: Mapping[str, Result], new: Mapping[str, Result], order: Sequence[str]) -> dict[str, Result]:
    """The rows of ``old`` with those of ``new`` in their place, in ``order``.

    What was measured before stays where the row was not run this time. Rows that are
    not in ``order`` are no longer measured by anything, and dropped.
    """
    merged = dict(old)
    for key, result in new.items():
        if result.values or not (key in old and old[key].values):
            merged[key] = result
    return {key: merged[key] for key in order if key in merged}


def read(path: Path) -> dict[str, Result]:
    """The stored results; none if there is no file."""
    if not path.is_file():
        return {}
    return {row["key"]: _from_row(row) for row in json.loads(path.read_text())["rows"]}


def write(path: Path, results: Mapping[str, Result]) -> None:
    """Stores results, replacing the file at once."""
    rows = [_row(result) for result in results.values()]
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
    beside.replace(path)


def _row(result: Result) -> dict[str, Any]:
    row = asdict(result)
    low, high = result.spread
    measured = {"reached": result.figure, "least": low, "most": high, "pairs": len(result.values)}
    derived = measured if result.values else {}
    return {"key": result.target.key, **derived, "passed": result.passed, **row}


def _from_row(row: dict[str, Any]) -> Result:
    stored = ("values", "detail", "remark", "reason", "date", "environment")
    return Result(Target(**row["target"]), **{name: row[name] for name in stored})
