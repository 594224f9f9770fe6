"""The report of a study: one HTML file that opens offline."""

from pathlib import Path

import pandas as pd
from markupsafe import Markup
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from pipeline import __version__
from pipeline.answers import RULES, answer
from pipeline.config import Config
from pipeline.names import slug
from pipeline.report.answers import view
from pipeline.report.figures import MAPS, heat_map, learning_curves, scatter
from pipeline.report.pages import html_environment, publish
from pipeline.report.summary import BEST_DOTS, Summary, some_trials, summarise
from pipeline.tracking import StudyRuns

__all__ = ["build_report", "report_path"]

CURVES = {"val/accuracy": "Validation accuracy", "train/loss": "Training loss (nats)"}


def report_path(config: Config, study: str) -> Path:
    """Where the report of a study is written."""
    return Path(config.tracking.dir) / "reports" / slug(study) / "report.html"


def build_report(config: Config, runs: StudyRuns) -> Path:
    """Writes the report from stored runs alone; returns its path."""
    summary = summarise(runs, config.report.top)
    dots = some_trials(runs.trials, runs.objective)
    page = html_environment().get_template("report.html.j2")
    found = answer(runs)
    html = page.render(
        study=runs.study,
        answer=view(found) if found else None,
        rules=RULES,
        summary=summary,
        confirmation=runs.confirmation,
        replicates=runs.replicates,
        pruned=len(runs.pruned),
        maps={title: _json(figure) for title, figure in _maps(runs.trials, dots, runs.axes).items()},
        dots=len(dots),
        best_dots=BEST_DOTS,
        axes=runs.axes,
        curves=_curves(runs, summary) if summary else {},
        plotlyjs=Markup(get_plotlyjs()),
        dataset=runs.parent.data.params["dataset"],
        parent=runs.parent.info.run_id,
        config_hash=runs.parent.data.tags["initlab.config_hash"],
        version=__version__,
    )
    return publish(report_path(config, runs.study), html.encode())


def _maps(trials: pd.DataFrame, dots: pd.DataFrame, axes: list[str]) -> dict[str, Figure]:
    """Title -> figure, for each mapped metric that the trials have."""
    if trials.empty:
        return {}
    numeric = [a for a in axes if pd.to_numeric(trials[f"params.{a}"], errors="coerce").notna().all()]
    drawn = [metric for metric in MAPS if f"metrics.{metric}" in trials]
    if len(numeric) >= 2:
        return {MAPS[m][0]: heat_map(trials, dots, numeric[0], numeric[1], m) for m in drawn}
    return {MAPS[m][0]: scatter(dots, axes[0], m) for m in drawn}


def _curves(runs: StudyRuns, summary: Summary) -> dict[str, Markup]:
    chosen = {"best": summary.best[0], "median": summary.median, "worst": summary.worst}
    titled = {f"{place}: {row.title}": row.run_id for place, row in chosen.items()}
    return {
        title: _json(learning_curves({name: runs.curve(run, metric) for name, run in titled.items()}, metric))
        for metric, title in CURVES.items()
    }


def _json(figure: Figure) -> Markup:
    """A figure for a ``<script type="application/json">``: no ``<`` can end the element early."""
    return Markup(str(figure.to_json()).replace("<", "\\u003c"))
