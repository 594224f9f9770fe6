"""The picture of an answer: a panel for each metric and activation, drawn from stored replicates."""

import io
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.answers.answer import Answer
from pipeline.answers.claims import ACCURACY, label
from pipeline.answers.measured import Measured
from pipeline.statistics import Spread, spread

__all__ = ["picture"]

# Okabe & Ito 2008, with markers of their own besides, for eyes and printers without colour.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
PANEL_INCHES = (3.3, 2.25)
DPI = 110


@dataclass(frozen=True)
class Line:
    """One line of a panel: its name, and where its points stand."""

    name: str
    points: Sequence[tuple[float, Spread, np.ndarray]]


def picture(answer: Answer) -> bytes:
    """A PNG: means over seeds with 95 % confidence intervals, one pale dot a network."""
    measured = answer.measured
    metrics = [m for m in answer.question.metrics if m in measured.networks]
    activations = list(dict.fromkeys(activation for activation, _ in measured.cells))
    over_range = answer.question.short == "range"
    draw: Callable[[Measured, str, str], list[Line]] = _over_arms if over_range else _over_depths
    width, height = PANEL_INCHES
    figure = Figure(
        figsize=(max(2, len(activations)) * width, len(metrics) * height + 0.9), dpi=DPI, layout="constrained"
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(metrics), len(activations), squeeze=False, sharex=True, sharey="row")
    for row, metric in enumerate(metrics):
        for column, activation in enumerate(activations):
            _panel(axes[row, column], draw(measured, activation, metric))
        axes[row, 0].set_ylabel(_wrapped(label(metric)))
        if metric == ACCURACY:
            for ax in axes[row]:
                ax.axhline(measured.chance, color="#666666", linewidth=1.2, linestyle=":", label="guessing")
    for column, activation in enumerate(activations):
        axes[0, column].set_title(activation, fontsize=11)
        _ticks(axes[-1, column], measured, answer.question.arms if over_range else None)
    handles, names = axes[0, 0].get_legend_handles_labels()
    handles, names = [*handles[1:], *handles[:1]], [*names[1:], *names[:1]]  # guessing comes last
    figure.legend(
        handles,
        [_literal(name) for name in names],
        loc="outside lower center",
        ncols=_legend_columns(names),
        frameon=False,
        fontsize=9.5,
    )
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a font without a letter of some label draws a box instead
        figure.savefig(buffer, format="png", metadata={"Software": "initlab"})
    return buffer.getvalue()


def _over_depths(measured: Measured, activation: str, metric: str) -> list[Line]:
    """A line an arm over the depths, set a little apart."""
    cells = [cell for cell in measured.cells if cell[0] == activation]
    places = {depth: i for i, depth in enumerate(sorted({depth for _, depth in measured.cells}))}
    step = min(0.16, 0.6 / max(1, len(measured.arms) - 1))
    lines = []
    for i, arm in enumerate(measured.arms):
        values = {cell: measured.values(cell, arm, metric).to_numpy() for cell in cells}
        shift = step * (i - (len(measured.arms) - 1) / 2)
        lines.append(Line(arm, [(places[cell[1]] + shift, spread(v), v) for cell, v in values.items() if len(v)]))
    return lines


def _over_arms(measured: Measured, activation: str, metric: str) -> list[Line]:
    """A line a depth over a numeric axis of arms."""
    lines = []
    for cell in (cell for cell in measured.cells if cell[0] == activation):
        values = {arm: measured.values(cell, arm, metric).to_numpy() for arm in measured.arms}
        lines.append(Line(f"depth {cell[1]}", [(float(arm), spread(v), v) for arm, v in values.items() if len(v)]))
    return lines


def _panel(ax: Axes, lines: Sequence[Line]) -> None:
    for i, line in enumerate(lines):
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        for x, _, values in line.points:
            ax.plot([x] * len(values), values, ".", color=colour, alpha=0.4, markersize=5, markeredgewidth=0)
        means = [s.mean for _, s, _ in line.points]
        halves = [np.nan_to_num(s.high - s.mean) for _, s, _ in line.points]
        ax.errorbar(
            [x for x, _, _ in line.points],
            means,
            yerr=halves,
            color=colour,
            marker=marker,
            markersize=5.5,
            linewidth=1.1,
            elinewidth=1.6,
            label=line.name,
        )
    ax.grid(axis="y", color="#e3e3e3", linewidth=0.8)
    ax.set_axisbelow(True)
    ax.set_ylim(-0.04, 1.06)
    ax.spines[["top", "right"]].set_visible(False)
    ax.tick_params(labelsize=9.5)


def _ticks(ax: Axes, measured: Measured, numeric: str | None) -> None:
    if numeric is not None:
        arms = [float(arm) for arm in measured.arms]
        ax.set_xscale("log")
        ax.set_xticks(arms, [f"{arm:g}" for arm in arms])
        ax.minorticks_off()
        ax.set_xlabel(numeric)
        return
    depths = sorted({depth for _, depth in measured.cells})
    ax.set_xticks(range(len(depths)), [str(depth) for depth in depths])
    ax.set_xlim(-0.5, len(depths) - 0.5)
    ax.set_xlabel("hidden layers")


def _literal(name: str) -> str:
    """A name as it stands: matplotlib reads ``$`` as mathematics, and drops what starts with ``_``."""
    return f" {name}".replace("$", r"\$")


def _wrapped(text: str) -> str:
    """A label of at most two or three short lines."""
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + len(word) >= 22:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return "\n".join(lines)


def _legend_columns(names: Sequence[str]) -> int:
    return max(1, min(len(names), 125 // (max(map(len, names), default=1) + 8)))
