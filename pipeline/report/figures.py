"""The figures of a study's report, each from stored runs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from pipeline.records import Curve

__all__ = ["MAPS", "Scale", "axis_scale", "heat_map", "learning_curves", "scatter"]

# metric -> title, colour scale (readable by colour-blind people), range
MAPS = {
    "val/accuracy": ("Validation accuracy", "Viridis"),
    "redundancy/effective_width": ("Effective width: share of distinct units", "Cividis"),
    "saturation/flat_fraction": ("Flat fraction: share of saturated units", "Inferno"),
}
CURVE_COLOURS = ("#0072B2", "#E69F00", "#D55E00")  # Okabe & Ito 2008
# Cells across a map, for a few trials and for many.
BINS, FINE_BINS, MANY = 12, 24, 1000
FONT = {"family": "system-ui, sans-serif", "size": 13}


@dataclass(frozen=True)
class Scale:
    """How the values of an axis are placed: logarithmic with a column of its own for 0, or linear."""

    key: str
    edges: np.ndarray
    log: bool
    zero_at: float | None

    def place(self, values: Sequence[float]) -> np.ndarray:
        """Positions on the drawn axis."""
        array = np.asarray(values, dtype=float)
        if not self.log:
            return array
        zero = array == 0
        placed = np.log10(np.where(zero, 1.0, array))
        return np.where(zero, self.zero_at if self.zero_at is not None else 0.0, placed)

    @property
    def cells(self) -> np.ndarray:
        """Edges of the drawn cells, with the one for 0 at the left."""
        if self.zero_at is None:
            return self.edges
        half = (self.edges[1] - self.edges[0]) / 2
        return np.concatenate([[self.zero_at - half, self.zero_at + half], self.edges])

    def ticks(self) -> dict[str, object]:
        """Plotly's tick settings."""
        if not self.log:
            return {}
        powers = np.arange(math.ceil(self.edges[0] - 1e-9), math.floor(self.edges[-1] + 1e-9) + 1)
        positions, labels = list(map(float, powers)), [f"{10.0**p:g}" for p in powers]
        if self.zero_at is not None:
            positions, labels = [self.zero_at, *positions], ["0", *labels]
        return {"tickvals": positions, "ticktext": labels}


def axis_scale(key: str, values: Sequence[float]) -> Scale:
    """A scale for these values: logarithmic if they are positive (or 0) over two decades."""
    array = np.asarray(values, dtype=float)
    positive = array[array > 0]
    log = bool((array >= 0).all() and positive.size > 1 and positive.max() / positive.min() > 100)
    drawn = np.log10(positive) if log else array
    low, high = float(drawn.min()), float(drawn.max())
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, (FINE_BINS if array.size > MANY else BINS) + 1)
    has_zero = log and bool((array == 0).any())
    return Scale(key, edges, log, low - 1.2 * (edges[1] - edges[0]) if has_zero else None)


def heat_map(trials: pd.DataFrame, dots: pd.DataFrame, x: str, y: str, metric: str) -> go.Figure:
    """``metric`` over two axes: cells are means of the trials in them, dots are some of the trials.

    Args:
        trials: rows with ``trial``, ``params.X``, ``params.Y`` and ``metrics.METRIC``.
        dots: those of them that are drawn.
    """
    _, colours = MAPS[metric]
    xs, ys, values = _numbers(trials, x, y, metric)
    across, up = axis_scale(x, xs.tolist()), axis_scale(y, ys.tolist())
    px, py = across.place(xs.tolist()), up.place(ys.tolist())
    cells = _cell_means(px, py, values, across.cells, up.cells)
    dx, dy, shown = _numbers(dots, x, y, metric)
    figure = go.Figure(
        [
            go.Heatmap(x=across.cells, y=up.cells, z=cells, coloraxis="coloraxis", opacity=0.55, hoverinfo="skip"),
            go.Scatter(
                x=across.place(dx.tolist()),
                y=up.place(dy.tolist()),
                mode="markers",
                marker=_marker(len(dots)) | {"color": shown, "coloraxis": "coloraxis"},
                customdata=np.stack([dx, dy, shown], -1),
                text=_titles(dots),
                hovertemplate=f"%{{text}}<br>{x} %{{customdata[0]:.4g}}<br>{y} %{{customdata[1]:.4g}}"
                f"<br>{metric} %{{customdata[2]:.4f}}<extra></extra>",
            ),
        ]
    )
    low, high = (0.0, 1.0) if metric != "val/accuracy" else (0.0, float(np.nanmax(values, initial=1e-9)))
    figure.update_layout(coloraxis={"colorscale": colours, "cmin": low, "cmax": high})
    figure.update_xaxes(title=x, **across.ticks())
    figure.update_yaxes(title=y, **up.ticks())
    return _styled(figure)


def _numbers(trials: pd.DataFrame, x: str, y: str, metric: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    columns = (f"params.{x}", f"params.{y}", f"metrics.{metric}")
    across, up, values = (trials[column].to_numpy(float) for column in columns)
    return across, up, values


def _marker(count: int) -> dict[str, object]:
    """Dots that can be told apart, however many."""
    size = 9 if count <= 200 else 6
    return {"size": size, "line": {"color": "white", "width": 1 if count <= 200 else 0.5}}


def _titles(trials: pd.DataFrame) -> list[str]:
    return [f"trial {number}" for number in trials["trial"]]


def _cell_means(
    x: np.ndarray, y: np.ndarray, values: np.ndarray, x_edges: np.ndarray, y_edges: np.ndarray
) -> np.ndarray:
    """Mean of the values in each cell, NaN in empty ones, ``(rows, columns)``."""
    # The topmost point lies on the last edge and belongs to the last cell.
    columns = np.clip(np.searchsorted(x_edges, x, side="right") - 1, 0, len(x_edges) - 2)
    rows = np.clip(np.searchsorted(y_edges, y, side="right") - 1, 0, len(y_edges) - 2)
    total = np.zeros((len(y_edges) - 1, len(x_edges) - 1))
    count = np.zeros_like(total)
    finite = np.isfinite(values)
    np.add.at(total, (rows[finite], columns[finite]), values[finite])
    np.add.at(count, (rows[finite], columns[finite]), 1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def scatter(dots: pd.DataFrame, x: str, metric: str) -> go.Figure:
    """``metric`` over the only axis there is; a text axis becomes categories."""
    raw = dots[f"params.{x}"]
    numbers = pd.to_numeric(raw, errors="coerce")
    figure = go.Figure()
    if numbers.notna().all():
        scale = axis_scale(x, numbers.tolist())
        placed: object = scale.place(numbers.tolist())
        figure.update_xaxes(**scale.ticks())
    else:
        placed = raw
    figure.add_scatter(
        x=placed,
        y=dots[f"metrics.{metric}"].astype(float),
        mode="markers",
        marker=_marker(len(dots)) | {"color": CURVE_COLOURS[0]},
        text=_titles(dots),
        customdata=raw,
        hovertemplate=f"%{{text}}<br>{x} %{{customdata}}<br>{metric} %{{y:.4f}}<extra></extra>",
    )
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=metric)
    return _styled(figure)


def learning_curves(curves: Mapping[str, Curve], metric: str) -> go.Figure:
    """One line for each named curve, against the step."""
    figure = go.Figure()
    for (name, curve), colour in zip(curves.items(), CURVE_COLOURS, strict=False):
        steps = sorted(curve)
        figure.add_scatter(
            x=steps,
            y=[curve[s] for s in steps],
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            marker={"size": 5},
        )
    figure.update_xaxes(title="step")
    figure.update_yaxes(title=metric)
    return _styled(figure)


def _styled(figure: go.Figure) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        font=FONT,
        height=400,
        margin={"l": 55, "r": 10, "t": 15, "b": 50},
        legend={"y": -0.18, "yanchor": "top", "x": 0, "xanchor": "left"},
        paper_bgcolor="rgba(0,0,0,0)",
    )
    return figure
