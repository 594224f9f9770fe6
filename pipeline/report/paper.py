"""The figures of a report as files for papers: SVG, by matplotlib."""

import io
import warnings
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from pipeline.exemplars import Exemplar
from pipeline.report.figures import CURVE_COLOURS
from pipeline.report.layers import LayerMap
from pipeline.report.maps import Map
from pipeline.report.scales import Scale
from pipeline.report.trials import Front

__all__ = [
    "STYLE",
    "as_svg",
    "curves_svg",
    "exemplars_svg",
    "front_svg",
    "importance_svg",
    "layers_svg",
    "literal",
    "map_png",
    "map_svg",
    "new_figure",
]

DASHES = ("-", "--", ":", "-.", (0, (8, 3)), (0, (8, 3, 2, 3)), "-")
TITLE = 26  # letters of a column's title in a line
# The same bytes for the same numbers, and text that stays text.
STYLE: dict[Any, Any] = {"svg.hashsalt": "initlab", "svg.fonttype": "none", "font.size": 9, "axes.grid": False}


def as_svg(figure: Figure) -> bytes:
    """The same bytes for the same figure."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a font without a letter of some label draws a box instead
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": "initlab"})
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Empty, of a size in inches; drawn under ``rc_context(STYLE)``."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def map_svg(drawn: Map) -> bytes:
    """A map with the theory's lines."""
    return as_svg(_map(drawn))


def map_png(drawn: Map) -> bytes:
    """The same as PNG."""
    buffer = io.BytesIO()
    _map(drawn).savefig(buffer, format="png", dpi=130)
    return buffer.getvalue()


def _map(drawn: Map) -> Figure:
    with rc_context(STYLE):
        figure = new_figure(5.2, 3.8)
        ax = figure.subplots()
        colours: dict[str, Any] = {"cmap": drawn.colours, "vmin": drawn.low, "vmax": drawn.high}
        if drawn.cells is not None and drawn.up is not None:
            ax.pcolormesh(drawn.across.cells, drawn.up.cells, np.ma.masked_invalid(drawn.cells), alpha=0.5, **colours)
            ax.set_ylim(drawn.up.cells[0], drawn.up.cells[-1])
        dots = drawn.dots
        shown = ax.scatter(dots["x"], dots["y"], c=dots["value"], s=14, edgecolors="white", linewidths=0.4, **colours)
        for line, dash in zip(drawn.lines, DASHES, strict=False):
            ax.plot(line.x, line.y, color="#D55E00", linestyle=dash, linewidth=1.8, label=literal(line.name))
        if drawn.lines:
            figure.legend(loc="outside lower center", ncols=2, frameon=False)
        if drawn.up is not None:
            figure.colorbar(shown, ax=ax)
            _axis(ax, drawn.up, "y")
        else:
            ax.set_ylabel(literal(drawn.metric))
        _axis(ax, drawn.across, "x")
        ax.set_title(literal(drawn.title), fontsize=10)
        return figure


def _axis(ax: Axes, scale: Scale, which: str) -> None:
    ticks = scale.ticks()
    if ticks is not None:
        labels = [literal(label) for label in ticks[1]]
        slanted = {"rotation": 30, "ha": "right"} if which == "x" and scale.labels and len(labels) > 4 else {}
        getattr(ax, f"set_{which}ticks")(ticks[0], labels, **slanted)
    getattr(ax, f"set_{which}label")(literal(scale.key))


def curves_svg(curves: Mapping[str, pd.DataFrame], metric: str) -> bytes:
    """Learning curves with bands of one standard deviation over replicates."""
    with rc_context(STYLE):
        figure = new_figure(5.2, 3.6)
        ax = figure.subplots()
        for (name, curve), colour, dash in zip(curves.items(), CURVE_COLOURS, DASHES, strict=False):
            ax.fill_between(curve["step"], curve["low"], curve["high"], color=colour, alpha=0.2, linewidth=0)
            ax.plot(curve["step"], curve["mean"], color=colour, linestyle=dash, label=literal(name))
        ax.set(xlabel="step", ylabel=metric)
        ax.grid(alpha=0.25)
        figure.legend(loc="outside lower center", frameon=False)
        return as_svg(figure)


def front_svg(front: Front) -> bytes:
    """Accuracy against flat fraction, by effective width, with the Pareto front."""
    with rc_context(STYLE):
        figure = new_figure(5.2, 3.8)
        ax = figure.subplots()
        shown = None
        for own, marker, size, edge, name in (
            (~front.trials["front"], "o", 14, "white", "other trials"),
            (front.trials["front"], "D", 40, "#D55E00", "Pareto front"),
        ):
            rows = front.trials[own]
            shown = ax.scatter(
                rows["flat"], rows["accuracy"], c=rows["width"], cmap="cividis", vmin=0, vmax=1, s=size,
                marker=marker, edgecolors=edge, linewidths=1.2 if edge != "white" else 0.4, label=name,
            )  # fmt: skip
        assert shown is not None
        figure.colorbar(shown, ax=ax, label="effective width")
        ax.set(xlabel="saturation/flat_fraction", ylabel="val/accuracy")
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return as_svg(figure)


def importance_svg(shares: Mapping[str, float]) -> bytes:
    """A bar an axis of the search."""
    with rc_context(STYLE):
        figure = new_figure(5.2, 0.7 + 0.35 * len(shares))
        ax = figure.subplots()
        upwards = list(shares.items())[::-1]
        bars = ax.barh(
            [literal(name) for name, _ in upwards], [share for _, share in upwards], color=CURVE_COLOURS[0], height=0.6
        )
        ax.bar_label(bars, [f" {share:.2f}" for _, share in upwards])
        ax.set(xlabel="share of importance (PED-ANOVA)", xlim=(0, 1.1))
        return as_svg(figure)


def layers_svg(maps: Sequence[LayerMap]) -> bytes:
    """Heat maps of layers by steps: a row a metric, a column a trial."""
    with rc_context(STYLE):
        metrics, trials = list(dict.fromkeys(m.metric for m in maps)), list(dict.fromkeys(m.trial for m in maps))
        figure = new_figure(1.4 + 2.5 * len(trials), 0.9 + 1.6 * len(metrics))
        axes = figure.subplots(len(metrics), len(trials), squeeze=False)
        for own in maps:
            row, column = metrics.index(own.metric), trials.index(own.trial)
            ax = axes[row, column]
            values = own.values
            shown = ax.imshow(values, aspect="auto", vmin=0, vmax=1, cmap=own.colours, interpolation="nearest")
            ax.set_xticks(range(values.shape[1]), list(map(str, own.steps)), rotation=45, fontsize=7)
            ax.set_yticks(range(values.shape[0]), [literal(name) for name in own.layers], fontsize=7)
            if row == 0:
                ax.set_title(literal(fill(own.trial, TITLE)), fontsize=8)
            if row == len(metrics) - 1:
                ax.set_xlabel("step")
            if column == len(trials) - 1:
                figure.colorbar(shown, ax=axes[row, :].tolist(), label=own.metric.split("/")[-1].replace("_", " "))
        return as_svg(figure)


def exemplars_svg(exemplars: Sequence[Exemplar]) -> bytes:
    """First-layer weights and how alike the units are, before training and after it."""
    with rc_context(STYLE):
        figure = new_figure(8.4, 0.4 + 1.75 * len(exemplars))
        axes = figure.subplots(len(exemplars), 4, squeeze=False)
        for row, own in zip(axes, exemplars, strict=True):
            for i, when in enumerate(("before", "after")):
                tiles = _tiles(own.weights[i])
                top = max(float(np.abs(tiles).max()), 1e-12)
                row[i].imshow(tiles, cmap="RdBu_r", vmin=-top, vmax=top, interpolation="nearest", aspect="auto")
                row[i].set_title(f"weights {when} (to {float(np.abs(tiles).max()):.2g})", fontsize=8)
                row[2 + i].imshow(own.alike[i], cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
                row[2 + i].set_title(f"|correlation| {when}", fontsize=8)
            for ax in row:
                ax.set_xticks([])
                ax.set_yticks([])
            row[0].set_ylabel(f"{own.name}\naccuracy {own.accuracy:.3f}", fontsize=9)
        return as_svg(figure)


def _tiles(weights: np.ndarray) -> np.ndarray:
    """Units side by side: images in a square, rows one below the other."""
    if weights.ndim == 2:
        return weights
    images = weights.mean(1) if weights.ndim == 4 else weights  # over channels
    across = int(np.ceil(np.sqrt(len(images))))
    height, width = images.shape[1:]
    sheet = np.zeros((across * (height + 1) - 1, across * (width + 1) - 1))
    for n, image in enumerate(images):
        top, left = (n // across) * (height + 1), (n % across) * (width + 1)
        sheet[top : top + height, left : left + width] = image
    return sheet[: -(-len(images) // across) * (height + 1) - 1]


def literal(name: str) -> str:
    """A name as it stands: matplotlib reads ``$`` as mathematics, and drops what starts with ``_``."""
    escaped = name.replace("$", r"\$")
    return f" {escaped}" if escaped.startswith("_") else escaped
