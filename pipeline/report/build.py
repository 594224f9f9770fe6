"""The report of a study: one HTML file that opens offline, and beside it the same for papers and programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.answers import RULES
from pipeline.config import Config
from pipeline.forks import Fork, can_fork
from pipeline.names import slug
from pipeline.provenance import command_line, override
from pipeline.report import paper
from pipeline.report.answers import as_uri, view
from pipeline.report.exports import as_csv, as_parquet
from pipeline.report.figures import curve_figure, front_figure, map_figure
from pipeline.report.pages import figure_json, html_environment, markdown_environment, publish, scripts, stylesheet
from pipeline.report.story import CURVES, Story, tell
from pipeline.report.summary import BEST_DOTS, Summary
from pipeline.report.trials import Ending
from pipeline.tracking import StudyRuns, ui_address

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


def build_report(config: Config, runs: StudyRuns) -> Report:
    """Writes the report from stored runs alone."""
    story = tell(runs, config.report.top)
    page = report_path(config, runs.study)
    if drawn := story.maps.get("val/accuracy"):
        publish(page.parent / "figures" / "phase-diagram.png", paper.map_png(drawn))
    pictures = _pictures(story)
    for name, content in pictures.items():
        publish(page.parent / "figures" / f"{name}.svg", content)
    publish(page.parent / "trials.csv", as_csv(story.table))
    publish(page.parent / "trials.parquet", as_parquet(story.table))
    shown = _shown(config, story)
    markdown = markdown_environment().get_template("report.md.j2").render(shown, figures=sorted(pictures))
    publish(page.parent / "report.md", markdown.encode())
    html = html_environment().get_template("report.html.j2").render(shown, **_interactive(story, pictures))
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
    """What finds the study again."""
    found = [override("study.name", runs.study)]
    return found if config.tracking.dir == "mlruns" else [*found, override("tracking.dir", config.tracking.dir)]


def _provenance(story: Story) -> dict[str, str]:
    """What the study's run says of where it comes from."""
    tags, params = story.runs.parent.data.tags, story.runs.parent.data.params
    wanted = {
        "Git commit": tags.get("mlflow.source.git.commit"),
        "Configuration hash": tags.get("initlab.config_hash"),
        "Data digest": tags.get("initlab.data_digest"),
        "Seed": params.get("seed"),
        "Versions": tags.get("initlab.versions"),
        "Command": tags.get("initlab.command"),
    }
    return {name: value for name, value in wanted.items() if value}


def _interactive(story: Story, pictures: Mapping[str, bytes]) -> dict[str, Any]:
    """What the HTML page alone has."""
    return scripts() | {
        "css": stylesheet(),
        "map_figures": {metric: figure_json(map_figure(drawn)) for metric, drawn in story.maps.items()},
        "curve_figures": {metric: figure_json(curve_figure(own, metric)) for metric, own in story.curves.items()},
        "front_figure": figure_json(front_figure(story.front)) if story.front else None,
        "pictures": {name: as_uri(content, "svg+xml") for name, content in pictures.items()},
    }


def _pictures(story: Story) -> dict[str, bytes]:
    """Each figure as SVG, by name; drawn on two cores where this process may be forked."""
    tasks = _tasks(story)
    names = list(tasks)
    if len(names) < 2 or not can_fork():
        return {name: draw() for name, draw in tasks.items()}
    fork = Fork(lambda chosen, _: {name: tasks[name]() for name in chosen})
    try:
        with ThreadPoolExecutor(1) as other:
            theirs = other.submit(fork.ask, names[1::2], lambda _: None, lambda: None)
            ours = {name: tasks[name]() for name in names[::2]}
            found = ours | theirs.result()
    finally:
        fork.end()
    return {name: found[name] for name in names}


def _tasks(story: Story) -> dict[str, Callable[[], bytes]]:
    """What draws each figure."""
    found: dict[str, Callable[[], bytes]] = {
        f"map-{metric.replace('/', '-')}": partial(paper.map_svg, drawn) for metric, drawn in story.maps.items()
    }
    found |= {
        f"curves-{metric.replace('/', '-')}": partial(paper.curves_svg, own, metric)
        for metric, own in story.curves.items()
    }
    if story.contest is not None:
        found["contest"] = partial(paper.contest_svg, story.contest)
    if story.layers:
        found["layers"] = partial(paper.layers_svg, story.layers)
    if story.exemplars:
        found["exemplars"] = partial(paper.exemplars_svg, story.exemplars)
    if story.front is not None:
        found["front"] = partial(paper.front_svg, story.front)
    if story.importance:
        found["importance"] = partial(paper.importance_svg, story.importance)
    return found
