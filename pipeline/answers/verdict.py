"""From the outcome of each cell to the verdict on a claim, by fixed rules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.answers.claims import Claim
from pipeline.statistics import Comparison

__all__ = ["ALPHA", "FACTORS", "RULES", "Cell", "Outcome", "judge", "outcome_of", "where"]

ALPHA = 0.05
# Accuracies of few seeds are often equal, which a t-test takes for certainty.
FEWEST_SEEDS = 5
FACTORS = ("activation", "depth")
NOT_SETTLED = "not settled"

RULES = (
    "A cell is one activation at one depth. In each, the same seeds are trained under both arms of a claim, and "
    "their differences are tested by a two-sided paired t-test against the claim's margin, with Holm's correction "
    "over all claims and cells of the question.",
    "A cell says yes or no where the corrected p is below 0.05: yes if the mean difference is on the claim's side of "
    "the margin, no if it is on the other. Otherwise, and with fewer than five seeds, it is unclear. A cell in which "
    "neither arm of a claim on accuracy gets 0.1 above guessing can't tell them apart: it is named and left out.",
    "A claim is supported if every settled cell says yes and refuted if every one says no. Where they differ, it "
    "depends on depth if cells of one depth agree, else on activation if cells of one activation agree, else on "
    "activation and depth. Unclear cells are named; if more than half of the "
    "cells are unclear, it is not settled.",
    "Intervals are 95 % confidence intervals (t) of a mean over seeds, not corrected. The effect size is Cohen's d_z: "
    "the mean difference over the standard deviation of the differences. A network that diverged has accuracy 0; in "
    "other metrics its pair is left out.",
)
"""The rules in words, as pages print them."""

Outcome = Literal["yes", "no", "unclear"]
Cell = tuple[str, int]
"""Activation and depth."""


@dataclass(frozen=True)
class Judgement:
    """What is said of a claim: ``label``, which names the unclear cells, and the cells of each outcome."""

    label: str
    cells: Mapping[Outcome, Sequence[Cell]]


def outcome_of(claim: Claim, comparison: Comparison, adjusted_p: float) -> Outcome:
    """What one cell says."""
    if adjusted_p >= ALPHA or comparison.difference.count < FEWEST_SEEDS:
        return "unclear"
    return "yes" if claim.holds_at(comparison.difference.mean) else "no"


def judge(outcomes: Mapping[Cell, Outcome]) -> Judgement:
    """The verdict over all cells."""
    kinds: tuple[Outcome, ...] = ("yes", "no", "unclear")
    cells = {kind: [cell for cell, outcome in outcomes.items() if outcome == kind] for kind in kinds}
    label = _label(outcomes, len(cells["unclear"]))
    if cells["unclear"] and label != NOT_SETTLED:
        label += f"; unclear for {where(cells['unclear'], list(outcomes))}"
    return Judgement(label, cells)


def _label(outcomes: Mapping[Cell, Outcome], unclear: int) -> str:
    settled = {cell: outcome for cell, outcome in outcomes.items() if outcome != "unclear"}
    if 2 * unclear > len(outcomes) or not settled:
        return NOT_SETTLED
    if len(set(settled.values())) == 1:
        return "supported" if "yes" in settled.values() else "refuted"
    for name in ("depth", "activation"):
        if _decides(FACTORS.index(name), settled):
            return f"depends on {name}"
    return "depends on activation and depth"


def _decides(factor: int, settled: Mapping[Cell, Outcome]) -> bool:
    """Whether cells that agree in a factor agree in their outcome."""
    found: dict[str | int, set[Outcome]] = {}
    for cell, outcome in settled.items():
        found.setdefault(cell[factor], set()).add(outcome)
    return all(len(outcomes) == 1 for outcomes in found.values())


def where(chosen: Sequence[Cell], among: Sequence[Cell]) -> str:
    """Some of the cells in words: ``depth 1; depth 3 with tanh and relu``."""
    if set(chosen) == set(among):
        return "everywhere"
    by_depth, by_activation = _grouped(chosen, among, 1), _grouped(chosen, among, 0)
    return by_depth if len(by_depth) <= len(by_activation) else by_activation


def _grouped(chosen: Sequence[Cell], among: Sequence[Cell], outer: int) -> str:
    """The cells by one factor: values that they hold whole, then those that they hold in part."""
    whole, parts = [], []
    for value in dict.fromkeys(cell[outer] for cell in among):
        inner = [cell[1 - outer] for cell in chosen if cell[outer] == value]
        if len(inner) == sum(cell[outer] == value for cell in among):
            whole.append(value)
        elif inner:
            parts.append(f"depth {value} with {_listed(inner)}" if outer == 1 else f"{value} at depth {_listed(inner)}")
    if not whole:
        return "; ".join(parts)
    first = f"depth {_listed(whole)}" if outer == 1 else f"{_listed(whole)}{' at every depth' if parts else ''}"
    return "; ".join([first, *parts])


def _listed(values: Sequence[str | int]) -> str:
    """``tanh, sigmoid and relu``."""
    *most, last = map(str, values)
    return f"{', '.join(most)} and {last}" if most else last
