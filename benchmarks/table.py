"""``RESULTS.md``: the table, what bounds what is missed, and the numbers behind."""

import math
from collections.abc import Mapping

from benchmarks.result import Result, Target

__all__ = ["page"]

HOW = """\
Each figure is a ratio of two sides measured in turn within one run on one machine: a pair
is one measurement of each, and every round begins with another side. `reached` is the
median over the pairs unless the row says otherwise, `spread` the least and the largest. A
row passes if it reaches what is asked over at least five pairs. `make bench` measures all
rows again, `make bench ARGS="row=digits,cnn"` some of them.
"""


def page(results: Mapping[str, Result], notes: Mapping[str, str]) -> str:
    """The page in Markdown.

    Args:
        notes: by row, what bounds it; shown for rows that miss theirs.
    """
    parts = ["# The benchmark", HOW, _table(results)]
    if bounded := _bounds(results, notes):
        parts += ["## What bounds what is missed", bounded]
    return "\n".join([*parts, "## The numbers behind", _details(results), "## Machine and versions", _places(results)])


def _table(results: Mapping[str, Result]) -> str:
    lines = ["| row | what | asked | reached | spread | pairs | |", "|---|---|---|---|---|---|---|"]
    for key, result in results.items():
        target = result.target
        if not result.values:
            lines.append(f"| {key} | {target.what} | {_asked(target)} | not run: {result.reason} | | | |")
            continue
        low, high = (number(value, target.unit) for value in result.spread)
        how = "" if target.figure == "median" else f" ({target.figure})"
        reached = f"**{number(result.figure, target.unit)}**{how}"
        cells = (key, target.what, _asked(target), reached, f"{low} .. {high}", str(len(result.values)))
        lines.append(f"| {' | '.join(cells)} | {_word(result)} |")
    return "\n".join(lines) + "\n"


def _asked(target: Target) -> str:
    if target.bound is None:
        return ""
    return f"{'at most' if target.at_most else 'at least'} {number(target.bound, target.unit)}"


def _word(result: Result) -> str:
    if result.met and not result.passed:
        return "too few pairs"
    return {True: "pass", False: "**fail**", None: ""}[result.met]


def number(value: float, unit: str) -> str:
    """Three significant digits and the unit: ``5.12x``, ``0.712``, ``1.43 GB``."""
    if not math.isfinite(value):
        return str(value)
    digits = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return digits + (unit if unit in ("x", "") else f" {unit}")


def _bounds(results: Mapping[str, Result], notes: Mapping[str, str]) -> str:
    lines = []
    for key, result in results.items():
        if result.met is False:
            lines.append(f"- **{key}**: {' '.join(notes.get(key, 'not yet known').split())}")
    return "\n".join(lines) + "\n" if lines else ""


def _details(results: Mapping[str, Result]) -> str:
    lines = []
    for key, result in results.items():
        if not result.values:
            continue
        facts = [f"{name} {number(value, '')}" for name, value in result.detail.items()]
        text = "; ".join([*facts, *([result.remark] if result.remark else [])])
        lines.append(f"- **{key}** ({result.date}): {text}")
    return "\n".join(lines) + "\n"


def _places(results: Mapping[str, Result]) -> str:
    """Each environment once, with its rows where there are several."""
    rows: dict[tuple[tuple[str, str], ...], list[str]] = {}
    for key, result in results.items():
        if result.values:
            rows.setdefault(tuple(result.environment.items()), []).append(key)
    lines = []
    for environment, keys in rows.items():
        which = f" (rows {', '.join(keys)})" if len(rows) > 1 else ""
        lines.append(f"- {'; '.join(f'{name} {value}' for name, value in environment)}{which}")
    return "\n".join(lines) + "\n"
