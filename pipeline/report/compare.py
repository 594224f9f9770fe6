"""Studies and runs side by side: what differs in their configurations, and in what they reach."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.config import Config
from pipeline.names import slug
from pipeline.provenance import command_line
from pipeline.report import paper
from pipeline.report.contest import ALPHA, METRIC
from pipeline.report.exports import as_csv
from pipeline.report.figures import curve_figure
from pipeline.report.pages import (
    as_uri,
    figure_json,
    html_environment,
    markdown_environment,
    publish,
    scripts,
    stylesheet,
)
from pipeline.report.story import CURVES
from pipeline.report.strips import sides_svg
from pipeline.statistics import compare, holm, spread
from pipeline.tracking import Subject, ui_address

__all__ = ["Difference", "differences", "write_comparison"]

METRICS = (
    "test/accuracy",
    "val/accuracy",
    "val/loss",
    "train/loss",
    "redundancy/effective_width",
    "redundancy/functional_width",
    "redundancy/effective_rank",
    "saturation/flat_fraction",
    "saturation/dead_fraction",
    "signal/gradient_ratio",
    "init/redundancy/effective_width",
    "init/saturation/flat_fraction",
)
# What the picture shows of them.
PICTURE = (
    *("test/accuracy", "val/loss", "redundancy/effective_width"),
    *("redundancy/effective_rank", "saturation/flat_fraction", "signal/gradient_ratio"),
)
# Of a configuration, but not of the networks that it makes.
ELSEWHERE = (
    *("study.", "search.", "tracking.", "launcher.", "report."),
    *("trainer.workers", "trainer.max_memory_gb", "allow_custom_code"),
)


@dataclass(frozen=True)
class Difference:
    """One metric of another side less that of the first.

    Attributes:
        test: ``paired`` over the seeds that both have, ``Welch`` where these are fewer than two,
            empty where no test can be made.
        seeds: that went into it. low, high: 95 % confidence interval of the difference.
        p: after Holm's correction over the whole table; NaN without a test.
    """

    metric: str
    side: int
    mean: float
    low: float
    high: float
    test: str
    seeds: int
    p: float


def differences(sides: Sequence[Subject]) -> list[Difference]:
    """Every metric of every side against the first."""
    found = [
        _difference(sides[0].values(metric), own.values(metric), metric, i)
        for metric in METRICS
        for i, own in enumerate(sides[1:], 1)
        if len(sides[0].values(metric)) and len(own.values(metric))
    ]
    tested = [d for d in found if d.test]
    adjusted = dict(zip(map(id, tested), holm([d.p for d in tested]), strict=True))
    return [Difference(**{**vars(d), "p": adjusted.get(id(d), np.nan)}) for d in found]


def _difference(first: "pd.Series[float]", other: "pd.Series[float]", metric: str, side: int) -> Difference:
    a, b = other.align(first, join="inner")
    if len(a) > 1:
        paired = compare(a.to_numpy(), b.to_numpy(), (0.0,))
        d = paired.difference
        return Difference(metric, side, d.mean, d.low, d.high, "paired", len(a), paired.p)
    mean = float(other.mean() - first.mean())
    if len(first) < 2 or len(other) < 2 or (first.std() == 0 and other.std() == 0):
        return Difference(metric, side, mean, np.nan, np.nan, "", 0, np.nan)
    result = stats.ttest_ind(other, first, equal_var=False)
    interval = result.confidence_interval(0.95)
    return Difference(
        metric, side, mean, float(interval.low), float(interval.high), "Welch", len(first) + len(other),
        float(result.pvalue),
    )  # fmt: skip


def _configurations(sides: Sequence[Subject]) -> dict[str, list[str]]:
    """Keys that differ, with the value of each side."""
    keys = dict.fromkeys(key for side in sides for key in side.config if not key.startswith(ELSEWHERE))
    found = {key: [_shown(side.config.get(key)) for side in sides] for key in keys}
    return {key: values for key, values in found.items() if len(set(values)) > 1}


def _shown(value: Any) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def write_comparison(config: Config, sides: Sequence[Subject], names: Sequence[str]) -> list[Path]:
    """Writes the page, the same in Markdown, the networks behind it and the figures; the first is the page.

    Args:
        names: what the user called them.
    """
    folder = Path(config.tracking.dir) / "reports" / slug("compare-" + "-".join(names))
    found = differences(sides)
    curves = {metric: _curves(sides, metric) for metric in CURVES}
    metrics = [m for m in METRICS if any(len(side.values(m)) for side in sides)]
    shown: dict[str, Any] = {
        "sides": list(zip(ascii_uppercase, sides, strict=False)),
        "configurations": _configurations(sides),
        "spreads": {m: [spread(side.values(m).to_numpy()) for side in sides] for m in metrics},
        "differences": found,
        "answer_by": METRIC,
        "alpha": ALPHA,
        "titles": CURVES,
        "again": command_line("compare", *names),
        "ui": ui_address(config),
        "experiment": sides[0].experiment,
    }
    figures = {metric: figure_json(curve_figure(own, metric)) for metric, own in curves.items()}
    html = html_environment().get_template("compare.html.j2")
    text = markdown_environment().get_template("compare.md.j2").render(shown)
    strips = sides_svg({m: [side.values(m) for side in sides] for m in PICTURE if m in metrics}, _lettered(sides))
    page = html.render(
        shown, curve_figures=figures, pictures={"sides": as_uri(strips, "svg+xml")}, css=stylesheet(), **scripts()
    )
    publish(folder / "figures" / "sides.svg", strips)
    for metric, own in curves.items():
        publish(folder / "figures" / f"curves-{metric.replace('/', '-')}.svg", paper.curves_svg(own, metric))
    return [
        publish(folder / "compare.html", page.encode()),
        publish(folder / "compare.md", text.encode()),
        publish(folder / "networks.csv", as_csv(_networks(sides))),
    ]


def _curves(sides: Sequence[Subject], metric: str) -> Mapping[str, pd.DataFrame]:
    return {name: side.curve(metric) for name, side in zip(_lettered(sides), sides, strict=True)}


def _lettered(sides: Sequence[Subject]) -> list[str]:
    return [f"{letter}: {side.name}" for letter, side in zip(ascii_uppercase, sides, strict=False)]


def _networks(sides: Sequence[Subject]) -> pd.DataFrame:
    """One row a (side, seed): all that the tables are computed from."""
    parts = []
    for side in sides:
        wide = side.replicates.pivot_table(index="seed", columns="metric", values="value", dropna=False)
        parts.append(wide.dropna(how="all").reset_index().assign(side=side.name, run_id=side.run_id))
    table = pd.concat(parts, ignore_index=True)
    first = ["side", "run_id", "seed"]
    return table[[*first, *sorted(str(name) for name in table if name not in first)]]
