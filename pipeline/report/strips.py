"""Strips of networks, a row for each scheme or side, with mean and interval: SVG, by matplotlib."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes

from pipeline.errors import shortened
from pipeline.report.contest import METRIC, Contest
from pipeline.report.figures import CURVE_COLOURS
from pipeline.report.paper import STYLE, as_svg, literal, new_figure
from pipeline.statistics import Spread, spread

__all__ = ["contest_svg", "sides_svg"]

ACROSS = 3
LONGEST_NAME = 24


def contest_svg(contest: Contest) -> bytes:
    """Mean ranks, with bars over those that can't be told apart (Demsar 2006, fig. 1), and means with intervals."""
    entries = contest.entries
    count = len(entries)
    with rc_context(STYLE):
        figure = new_figure(7.2, 1.2 + 0.3 * (count + len(contest.cliques)))
        left, right = figure.subplots(1, 2, width_ratios=(1.2, 1))
        places = np.arange(count)
        left.scatter([e.rank for e in entries], places, color=CURVE_COLOURS[0], zorder=3)
        for n, (first, last) in enumerate(contest.cliques):
            at = count - 0.3 + 0.45 * n
            ends = [entries[first].rank - 0.04, entries[last].rank + 0.04]
            left.plot(ends, [at, at], color="#000000", linewidth=3.5, solid_capstyle="butt")
            for i in (first, last):
                left.plot([entries[i].rank] * 2, [i, at], color="#888888", linewidth=0.6)
        left.set(xlabel="mean rank over seeds (1: the best)", xlim=(0.8, count + 0.2))
        left.set_yticks(places, [literal(e.name) for e in entries])
        for place, entry in enumerate(entries):
            _strip(right, place, entry.values, entry.spread, CURVE_COLOURS[2])
        right.set(xlabel=f"{METRIC}, 95 % interval")
        for ax in (left, right):
            ax.set_ylim(count - 0.3 + 0.45 * len(contest.cliques), -0.6)
            ax.grid(axis="x", alpha=0.25)
        right.set_yticks(places, [""] * count)
        return as_svg(figure)


def sides_svg(values: Mapping[str, Sequence["pd.Series[float]"]], names: Sequence[str]) -> bytes:
    """A panel for each metric, with a row for each side.

    Args:
        values: by metric, of each side the networks' values.
        names: of the sides.
    """
    down = -(-len(values) // ACROSS)
    with rc_context(STYLE):
        figure = new_figure(9.0, down * (0.85 + 0.28 * len(names)))
        panels = figure.subplots(down, ACROSS, squeeze=False, sharey=True)
        for ax, (metric, sides) in zip(panels.flat, values.items(), strict=False):
            for place, own in enumerate(sides):
                if len(own):
                    _strip(ax, place, own, spread(own.to_numpy()), CURVE_COLOURS[place % len(CURVE_COLOURS)])
            ax.set_title(literal(metric), fontsize=9)
            ax.set_yticks(range(len(names)), [literal(shortened(name, LONGEST_NAME)) for name in names])
            ax.set_ylim(len(names) - 0.5, -0.5)
            ax.grid(axis="x", alpha=0.25)
        for ax in panels.flat[len(values) :]:
            ax.set_visible(False)
        return as_svg(figure)


def _strip(ax: Axes, place: int, values: "pd.Series[float]", s: Spread, colour: str) -> None:
    """A dot for each network, and their mean with its 95 % interval where they are several."""
    ax.scatter(values, [place] * len(values), color="#999999", s=8)
    bar = [[s.mean - s.low], [s.high - s.mean]] if s.count > 1 else None
    ax.errorbar(s.mean, place, xerr=bar, fmt="o", color=colour, capsize=3)
