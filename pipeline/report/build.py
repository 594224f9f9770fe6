"""The report of a study: one HTML file that opens offline, and beside it the same for papers and programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.answers import RULES
from pipeline.config import Config, masked
from pipeline.names import slug
from pipeline.provenance import command_line, override
from pipeline.report.answers import view
from pipeline.report.drawing import Drawn, draw
from pipeline.report.exports import as_csv, as_parquet
from pipeline.report.pages import as_uri, html_environment, markdown_environment, publish, scripts, stylesheet
from pipeline.report.story import CURVES, Story
from pipeline.report.summary import BEST_DOTS, Summary
from pipeline.report.trials import Ending
from pipeline.seeds import replicate_seeds
from pipeline.tracking import StudyRuns, store_uri, ui_address

__all__ = ["Report", "build_report", "report_path"]

SECTIONS = {
    "best": "Best and worst",
    "maps": "Phase diagram",
    "contest": "Scheme against scheme",
    "curves": "Learning curves",
    "layers": "Layers and units",
    "front": "Accuracy, redundancy, saturation",
    "endings": "Failed, diverged, pruned",
    "source": "Where this comes from",
}
FRONT_ROWS = 12
# Where these keys have another value, the command that makes the report again names them.
USUAL = {"tracking.dir": "mlruns", "tracking.experiment": "initlab", "tracking.port": 5000, "report.top": 5}


def report_path(config: Config, study: str) -> Path:
    """Where the report of a study is written."""
    return Path(config.tracking.dir) / "reports" / slug(study) / "report.html"


@dataclass(frozen=True)
class Report:
    """A report that was written.

    Attributes:
        page: the path of its HTML. Beside it stand ``report.md``, ``trials.csv``,
            ``trials.parquet`` and ``figures/``.
        endings: how trials that were not trained to their end ended.
        note: the same in short, in Markdown, for the study's run in the MLflow UI.
    """

    page: Path
    summary: Summary | None
    endings: list[Ending]
    note: str


def build_report(config: Config, story: Story) -> Report:
    """Writes the report; it reads no store, and draws on two cores where no other thread is at work."""
    page = report_path(config, story.runs.study)
    drawn = draw(story)
    if drawn.png is not None:
        publish(page.parent / "figures" / "phase-diagram.png", drawn.png)
    for name, content in drawn.pictures.items():
        publish(page.parent / "figures" / f"{name}.svg", content)
    publish(page.parent / "trials.csv", as_csv(story.table))
    publish(page.parent / "trials.parquet", as_parquet(story.table))
    shown = _shown(config, story)
    markdown = markdown_environment().get_template("report.md.j2").render(shown, figures=sorted(drawn.pictures))
    publish(page.parent / "report.md", markdown.encode())
    html = html_environment().get_template("report.html.j2").render(shown, **_interactive(drawn))
    publish(page, html.encode())
    note = markdown_environment().get_template("note.md.j2").render(shown)
    return Report(page, story.summary, story.endings, note)


def _shown(config: Config, story: Story) -> dict[str, Any]:
    """What both pages print."""
    runs = story.runs
    drawn = next(iter(story.maps.values()), None)
    return {
        "study": runs.study,
        "story": story,
        "status": runs.parent.info.status,
        "dataset": runs.parent.data.params["dataset"],
        "replicates": runs.replicates,
        "confirmation": runs.confirmation,
        "parent": runs.parent.info.run_id,
        "experiment": runs.parent.info.experiment_id,
        "ui": ui_address(config),
        "sampler": runs.parent.data.params["search.sampler"],
        "view": slug(runs.study),
        "sections": SECTIONS,
        "titles": CURVES,
        "best_dots": BEST_DOTS,
        "two": drawn is not None and drawn.up is not None,
        "lines": drawn is not None and bool(drawn.lines),
        "front_rows": list(story.front.best.head(FRONT_ROWS).itertuples()) if story.front else [],
        "provenance": _provenance(story),
        "again": command_line("report", *_overrides(config, runs)),
        "answer": view(story.answer) if story.answer else None,
        "rules": RULES,
    }


def _overrides(config: Config, runs: StudyRuns) -> list[str]:
    """What finds the study again, and makes the same page of it."""
    tracking, given = config.tracking, store_uri(config)
    own: dict[str, object] = {
        "tracking.dir": tracking.dir,
        "tracking.experiment": tracking.experiment,
        "tracking.port": tracking.port,
        "report.top": config.report.top,
    }
    own = {key: value for key, value in own.items() if value != USUAL[key]}
    if given != f"sqlite:///{Path(tracking.dir).resolve()}/mlflow.db":
        own["tracking.uri"] = masked(given)
    numbers = [f"{key}={value}" for key, value in own.items() if isinstance(value, int)]
    texts = [override(key, value) for key, value in own.items() if isinstance(value, str)]
    return [override("study.name", runs.study), *texts, *numbers]


def _provenance(story: Story) -> dict[str, str]:
    """What the study's run says of where it comes from."""
    run, table = story.runs.parent, story.table
    tags, params = run.data.tags, run.data.params
    fresh = table[table["kind"] == "confirmation"].get("seed", pd.Series(dtype=float)).dropna().astype(int)
    seed = f"{params.get('seed')}; replicates {_span(replicate_seeds(int(params['seed']), story.runs.replicates))}"
    wanted = {
        "Run with": tags.get("initlab.command"),
        "Begun": f"{datetime.fromtimestamp(run.info.start_time / 1000, UTC):%Y-%m-%d %H:%M} UTC",
        "Seed": f"{seed}; fresh {_span(sorted(fresh))}" if len(fresh) else seed,
        "Data digest": tags.get("initlab.data_digest"),
        "Configuration hash": tags.get("initlab.config_hash"),
        "Git commit": tags.get("initlab.commit"),
        "Versions": tags.get("initlab.versions"),
    }
    return {name: value for name, value in wanted.items() if value}


def _span(seeds: Sequence[int]) -> str:
    return f"{seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])


def _interactive(drawn: Drawn) -> dict[str, Any]:
    """What the HTML page alone has."""
    return scripts() | {
        "css": stylesheet(),
        "map_figures": drawn.maps,
        "curve_figures": drawn.curves,
        "front_figure": drawn.front,
        "pictures": {name: as_uri(content, "svg+xml") for name, content in drawn.pictures.items()},
    }
