"""The interactive figures of a report, for plotly."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go

from pipeline.report.maps import Map
from pipeline.report.scales import Scale
from pipeline.report.trials import Front

__all__ = ["CURVE_COLOURS", "curve_figure", "front_figure", "map_figure"]

CURVE_COLOURS = ("#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#8A8A8A")  # Okabe & Ito 2008
LINE_DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")
THEORY = {"color": "#D55E00", "width": 3}
FONT = {"family": "system-ui, sans-serif", "size": 13}
MANY_DOTS = 200


def map_figure(drawn: Map) -> go.Figure:
    """A map: cells are means of the trials in them, points are trials, lines are theory's.

    A point's ``customdata`` begins with its run's id.
    """
    figure = go.Figure()
    if drawn.cells is not None and drawn.up is not None:
        edges = {"x": drawn.across.cells, "y": drawn.up.cells}
        figure.add_heatmap(**edges, z=drawn.cells, coloraxis="coloraxis", opacity=0.55, hoverinfo="skip")
    dots = drawn.dots
    figure.add_scatter(
        x=dots["x"],
        y=dots["y"],
        mode="markers",
        name="trials",
        marker=_marker(len(dots)) | {"color": dots["value"], "coloraxis": "coloraxis"},
        customdata=[[run, drawn.metric, value] for run, value in zip(dots["run_id"], dots["value"], strict=True)],
        text=[f"trial {n}: {title}" for n, title in zip(dots["trial"], dots["title"], strict=True)],
        hovertemplate="%{text}<br>%{customdata[1]} %{customdata[2]:.4f}<extra></extra>",
        showlegend=False,
    )
    for line, dash in zip(drawn.lines, LINE_DASHES, strict=False):
        style = {**THEORY, "dash": dash}
        figure.add_scatter(x=line.x, y=line.y, mode="lines", name=line.name, line=style, hoverinfo="name")
    figure.update_layout(coloraxis={"colorscale": drawn.colours, "cmin": drawn.low, "cmax": drawn.high})
    figure.update_xaxes(title=drawn.across.key, **_ticks(drawn.across))
    if drawn.up is not None:
        low, high = float(drawn.up.cells[0]), float(drawn.up.cells[-1])
        ends = {"range": [low - 0.03 * (high - low), high + 0.03 * (high - low)]}
        figure.update_yaxes(title=drawn.up.key, **_ticks(drawn.up), **ends)
    else:
        figure.update_yaxes(title=drawn.metric)
    return _styled(figure, 480)


def curve_figure(curves: Mapping[str, pd.DataFrame], metric: str) -> go.Figure:
    """One line for each named curve, ``step mean low high``, with a band between the last two."""
    figure = go.Figure()
    for (name, curve), colour, dash in zip(curves.items(), CURVE_COLOURS, LINE_DASHES, strict=False):
        line = {"color": colour, "width": 2, "dash": dash}
        if (curve["high"] > curve["low"]).any():
            around = {"x": [*curve["step"], *curve["step"][::-1]], "y": [*curve["high"], *curve["low"][::-1]]}
            figure.add_scatter(
                **around,
                fill="toself",
                fillcolor=colour,
                opacity=0.2,
                line={"width": 0},
                mode="lines",
                hoverinfo="skip",
                showlegend=False,
                legendgroup=name,
            )
        figure.add_scatter(
            x=curve["step"], y=curve["mean"], name=name, mode="lines+markers", line=line, marker={"size": 5},
            legendgroup=name,
        )  # fmt: skip
    figure.update_xaxes(title="step")
    figure.update_yaxes(title=metric)
    return _styled(figure, 400)


def front_figure(front: Front) -> go.Figure:
    """Accuracy against flat fraction, by effective width; the Pareto front has rings."""
    dots = front.trials
    figure = go.Figure()
    for own, name, symbol in ((~dots["front"], "other trials", "circle"), (dots["front"], "Pareto front", "diamond")):
        rows = dots[own]
        line = {"color": "#D55E00", "width": 2} if symbol == "diamond" else {"color": "white", "width": 0.5}
        marker = {"symbol": symbol, "size": 12 if symbol == "diamond" else 7, "line": line}
        # A legend shows no colour of an axis: it would take the first value for the name of one.
        figure.add_scatter(
            x=[None], y=[None], mode="markers", name=name, legendgroup=name, marker=marker | {"color": "#8A8A8A"}
        )
        figure.add_scatter(
            x=rows["flat"],
            y=rows["accuracy"],
            mode="markers",
            name=name,
            legendgroup=name,
            showlegend=False,
            marker=marker | {"color": rows["width"], "coloraxis": "coloraxis"},
            customdata=rows[["run_id", "width"]].to_numpy().tolist(),
            text=[f"trial {n}: {title}" for n, title in zip(rows["trial"], rows["title"], strict=True)],
            hovertemplate="%{text}<br>accuracy %{y:.4f}, flat fraction %{x:.4f}, "
            "effective width %{customdata[1]:.4f}<extra></extra>",
        )  # fmt: skip
    figure.update_layout(
        coloraxis={"colorscale": "cividis", "cmin": 0, "cmax": 1, "colorbar": {"title": "effective width"}}
    )
    figure.update_xaxes(title="saturation/flat_fraction")
    figure.update_yaxes(title="val/accuracy")
    return _styled(figure, 440)


def _marker(count: int) -> dict[str, object]:
    """Dots that can be told apart, however many."""
    few = count <= MANY_DOTS
    return {"size": 9 if few else 6, "line": {"color": "white", "width": 1 if few else 0.5}}


def _ticks(scale: Scale) -> dict[str, object]:
    ticks = scale.ticks()
    return {} if ticks is None else {"tickvals": ticks[0], "ticktext": ticks[1]}


def _styled(figure: go.Figure, height: int) -> go.Figure:
    figure.update_layout(
        template="plotly_white",
        font=FONT,
        height=height,
        margin={"l": 60, "r": 10, "t": 15, "b": 55},
        legend={"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0, "xanchor": "left"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
    )
    return figure
