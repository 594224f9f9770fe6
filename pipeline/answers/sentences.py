"""Sentences made of numbers."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np

from pipeline.answers.claims import ACCURACY, LEARNS, Claim, Question, label
from pipeline.answers.measured import Measured
from pipeline.answers.verdict import Cell, Judgement, Outcome, where
from pipeline.statistics import Spread

__all__ = ["claim_sentence", "short_sentences"]

NEAR = 0.02
"""Arms whose mean accuracy is within this of the best one's count as trained."""


def claim_sentence(claim: Claim, judgement: Judgement, differences: Mapping[Cell, float]) -> str:
    """Where the claim holds, where it doesn't, and by how much."""
    every = list(differences)
    parts = [
        f"{_holds(outcome, where(cells, every))} ({_range([differences[c] for c in cells])})"
        for outcome, cells in judgement.cells.items()
        if cells
    ]
    return f"{claim.contrast}: {', '.join(parts) or 'nothing to compare'}."


def _holds(outcome: Outcome, place: str) -> str:
    if place == "everywhere":
        return {"yes": "it holds everywhere", "no": "it holds nowhere", "unclear": "it is unclear everywhere"}[outcome]
    return {"yes": "it holds", "no": "it does not hold", "unclear": "it is unclear"}[outcome] + f" for {place}"


def _range(values: list[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:+.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:+.3f} to {high:+.3f}"


def short_sentences(question: Question, measured: Measured) -> list[str]:
    """One sentence an activation, in the question's own manner."""
    makers = {"subject": _subject, "best": _best, "range": _trained_range}
    activations = dict.fromkeys(activation for activation, _ in measured.cells)
    made = [makers[question.short](question, measured, activation) for activation in activations]
    return [*made, f"Always guessing the commonest class scores {measured.chance:.3f}.{_hopeless(measured)}"]


def _hopeless(measured: Measured) -> str:
    """Names the cells in which there is nothing to tell arms apart by."""
    best = {cell: max(_means(measured, cell).values()) for cell in measured.cells}
    cells = [cell for cell, mean in best.items() if mean < measured.chance + LEARNS]
    if not cells:
        return ""
    place = "anywhere" if len(cells) == len(best) else f"for {where(cells, measured.cells)}"
    return f" No arm learns {place} (best {max(best[cell] for cell in cells):.3f})."


def _subject(question: Question, measured: Measured, activation: str) -> str:
    cells = [cell for cell in measured.cells if cell[0] == activation]
    arms = [arm for arm in (question.subject, *measured.arms) if arm in measured.arms]
    subject, *others = dict.fromkeys(arms)
    beside = "; ".join(f"{arm}: {_means_over(measured, cells, arm, ACCURACY)}" for arm in others)
    further = [f"{label(m)} {_means_over(measured, cells, subject, m)}" for m in question.metrics if m != ACCURACY]
    return (
        f"{activation}, {subject}: test accuracy {_over_depths(measured, cells, subject, ACCURACY)} ({beside}); "
        f"{'; '.join(further)}."
    )


def _means_over(measured: Measured, cells: Iterable[Cell], arm: str, metric: str) -> str:
    return ", ".join(f"{measured.spread(cell, arm, metric).mean:.3f}" for cell in cells)


def _over_depths(measured: Measured, cells: Iterable[Cell], arm: str, metric: str) -> str:
    return ", ".join(f"{_interval(measured.spread(cell, arm, metric))} at depth {cell[1]}" for cell in cells)


def _interval(s: Spread) -> str:
    return f"{s.mean:.3f} [{s.low:.3f}, {s.high:.3f}]" if s.count > 1 else f"{s.mean:.3f}"


def _means(measured: Measured, cell: Cell) -> dict[str, float]:
    means = {arm: measured.spread(cell, arm, ACCURACY).mean for arm in measured.arms}
    return {arm: mean for arm, mean in means.items() if np.isfinite(mean)}


def _by_depth(measured: Measured, activation: str, none: str, tell: Callable[[Cell, dict[str, float]], str]) -> str:
    """What is told of each depth from its arms' means, or that ``none`` of them learns."""
    parts = []
    for cell in (c for c in measured.cells if c[0] == activation):
        means = _means(measured, cell)
        best = max(means.values())
        learns = best >= measured.chance + LEARNS
        parts.append(f"at depth {cell[1]} " + (tell(cell, means) if learns else f"{none} learns (best {best:.3f})"))
    return "; ".join(parts)


def _best(question: Question, measured: Measured, activation: str) -> str:
    def tell(cell: Cell, means: dict[str, float]) -> str:
        best, worst = max(means, key=lambda arm: means[arm]), min(means, key=lambda arm: means[arm])
        beside = f"{question.subject} {means[question.subject]:.3f}, " if question.subject in means else ""
        return f"the best is {best} with {means[best]:.3f} ({beside}worst {worst} {means[worst]:.3f})"

    return f"{activation}, mean test accuracy: {_by_depth(measured, activation, 'none', tell)}."


def _trained_range(question: Question, measured: Measured, activation: str) -> str:
    def tell(cell: Cell, means: dict[str, float]) -> str:
        best = max(means, key=lambda arm: means[arm])
        others = [arm for arm, mean in means.items() if mean >= means[best] - NEAR and arm != best]
        span = f"within {NEAR} of it: {', '.join(others) if others else 'no other'}"
        flat, linear = (measured.spread(cell, best, f"init/saturation/{m}_fraction").mean for m in ("flat", "linear"))
        return (
            f"the best is scale {best} with {means[best]:.3f}, which starts with flat fraction "
            f"{flat:.3f} and linear fraction {linear:.3f} ({span})"
        )

    return f"{activation}: {_by_depth(measured, activation, 'no scale', tell)}."
