"""The phase diagram: metrics over the axes of a search, with what theory says over them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pipeline.report.scales import Scale, axis_scale
from pipeline.theory import DEPTH_SCALES, NONLINEARITIES, SCHEME_VARIANCES, Biases, depth_lines, scheme_sigma_w2

__all__ = ["MAPPED", "Line", "Map", "maps_of"]

# metric -> title, colour scale (readable by colour-blind people), largest value if it is fixed
MAPPED: dict[str, tuple[str, str, float | None]] = {
    "val/accuracy": ("Validation accuracy", "viridis", None),
    "redundancy/effective_width": ("Effective width: share of distinct units", "cividis", 1.0),
    "saturation/flat_fraction": ("Flat fraction: share of saturated units", "inferno", 1.0),
    "verdict/score": ("Score of the verdict before training", "viridis", 1.0),
}
# Biases for which the theory is worked out.
POINTS = 48
SMALLEST = 1e-8  # sigma_w^2, where an axis begins at 0
LINES = (
    "critical line",
    f"{DEPTH_SCALES} xi_c = depth {{depth}}, ordered side",
    f"{DEPTH_SCALES} xi_c = depth {{depth}}, chaotic side",
)


@dataclass(frozen=True)
class Line:
    """A line over a map, in positions on its drawn axes; NaN where it breaks."""

    name: str
    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Map:
    """A metric over two axes, or over one.

    Attributes:
        colours: name of the colour scale. low, high: its ends.
        across, up: the axes; ``up`` is None where the metric itself goes up.
        cells: means of the trials in each cell, ``(rows, columns)``, NaN in empty ones; None with one axis.
        dots: some trials: ``trial run_id title x y value``, x and y as positions.
        lines: what theory says.
    """

    metric: str
    title: str
    colours: str
    low: float
    high: float
    across: Scale
    up: Scale | None
    cells: np.ndarray | None
    dots: pd.DataFrame
    lines: Sequence[Line] = field(default_factory=list)


def maps_of(
    trials: pd.DataFrame, dots: pd.DataFrame, axes: Sequence[str], config: dict[str, Any]
) -> tuple[dict[str, Map], str]:
    """One map for each mapped metric that the trials have, and why no theory is drawn (empty if it is).

    Args:
        trials: rows with ``trial run_id title``, ``params.KEY`` and ``metrics.KEY``.
        dots: those of them that are drawn as points.
        axes: keys of the search, the numeric ones of which come first.
        config: the study's resolved configuration.
    """
    scales = [axis_scale(key, trials[f"params.{key}"]) for key in axes]
    numeric = [scale for scale in scales if not scale.labels]
    across, up = (numeric[0], numeric[1]) if len(numeric) > 1 else ((numeric or scales)[0], None)
    lines, reason = theory_lines(config, across, up, axes)
    found = {}
    for metric, (title, colours, largest) in MAPPED.items():
        values = trials.get(f"metrics.{metric}")
        if values is None or values.isna().all():
            continue
        high = largest if largest is not None else max(float(values.max()), 1e-9)
        cells = _cells(trials, across, up, values.to_numpy(float)) if up is not None else None
        shown = _dots(dots, across, up, metric)
        found[metric] = Map(metric, title, colours, 0.0, high, across, up, cells, shown, lines)
    return found, reason


def _dots(dots: pd.DataFrame, across: Scale, up: Scale | None, metric: str) -> pd.DataFrame:
    values = dots[f"metrics.{metric}"].to_numpy(float)
    heights = up.place(_values(dots, up)) if up is not None else values
    places = {"x": across.place(_values(dots, across)), "y": heights, "value": values}
    return dots[["trial", "run_id", "title"]].assign(**places).dropna(subset=["value"])


def _values(trials: pd.DataFrame, scale: Scale) -> np.ndarray:
    raw = trials[f"params.{scale.key}"]
    return raw.to_numpy(str) if scale.labels else raw.to_numpy(float)


def _cells(trials: pd.DataFrame, across: Scale, up: Scale, values: np.ndarray) -> np.ndarray:
    """Mean of the values in each cell, NaN in empty ones, ``(rows, columns)``."""
    places = []
    for scale in (across, up):
        at, edges = scale.place(_values(trials, scale)), scale.cells
        # The topmost point lies on the last edge and belongs to the last cell.
        places.append(np.clip(np.searchsorted(edges, at, side="right") - 1, 0, len(edges) - 2))
    columns, rows = places
    finite = np.isfinite(values)
    shape = (len(up.cells) - 1, len(across.cells) - 1)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (rows[finite], columns[finite]), values[finite])
    np.add.at(counts, (rows[finite], columns[finite]), 1)
    with np.errstate(invalid="ignore"):
        means: np.ndarray = sums / counts
    return means


def theory_lines(
    config: dict[str, Any], across: Scale, up: Scale | None, axes: Sequence[str]
) -> tuple[list[Line], str]:
    """The critical line and the contours on which ``6 xi_c`` is the depth, or why there are none.

    Of the hidden layers behind the first, which are square: of an MLP under a scheme that has a
    variance, over init scale and bias value.
    """
    model, weight, bias = config["model"], config["weight_init"], config["bias_init"]
    keys = {across.key, up.key if up is not None else ""}
    if up is None or keys != {"weight_init.scale", "bias_init.value"}:
        return [], "the theory's lines need the axes weight_init.scale and bias_init.value"
    others = [key for key in axes if key not in keys and not key.startswith(("optimizer.", "trainer."))]
    if others:
        return [], f"the trials differ in {', '.join(others)} as well, and each has lines of its own"
    if not model["_target_"].endswith(".MLP") or model["depth"] < 2:
        return [], "the theory's lines are those of an MLP with two or more hidden layers"
    if model["activation"] not in NONLINEARITIES or weight["name"] not in SCHEME_VARIANCES:
        return [], f"no mean-field theory of {weight['name']} with {model['activation']} is at hand"
    if bias["name"] not in ("constant", "normal"):
        return [], f"no mean-field theory of bias_init={bias['name']} is at hand"
    at_scale, at_value = (across, up) if across.key == "weight_init.scale" else (up, across)
    heights = np.linspace(at_value.edges[0], at_value.edges[-1], POINTS)
    values = at_value.unplace(heights)
    constant = bias["name"] == "constant"
    biases = Biases(np.zeros_like(values) if constant else values**2, values if constant else np.zeros_like(values))
    unit = scheme_sigma_w2(weight["name"], model["width"], model["width"])  # at scale 1
    ends = [unit * float(end) ** 2 for end in at_scale.unplace(at_scale.edges[[0, -1]])]
    found = depth_lines(model["activation"], biases, model["depth"], max(ends[0], SMALLEST), ends[1])
    lines = []
    for name, sigma_w2 in zip(LINES, found, strict=True):
        scales = np.sqrt(sigma_w2 / unit)
        x, y = (np.log10(scales) if at_scale.log else scales), heights
        line = Line(name.format(depth=model["depth"]), *((x, y) if at_scale is across else (y, x)))
        if np.isfinite(scales).any():
            lines.append(line)
    return lines, "" if lines else "the theory's lines lie outside of what was searched"
