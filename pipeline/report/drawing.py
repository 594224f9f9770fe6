"""Draws the figures of a report: as files for papers, and for the interactive page."""

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from markupsafe import Markup

from pipeline.forks import Fork, can_fork
from pipeline.report import paper
from pipeline.report.figures import curve_figure, front_figure, map_figure
from pipeline.report.pages import figure_json
from pipeline.report.story import Story
from pipeline.report.strips import contest_svg

__all__ = ["Drawn", "draw"]

Tasks = Mapping[str, Callable[[], Any]]


@dataclass(frozen=True)
class Drawn:
    """What was drawn.

    Attributes:
        pictures: SVG by name. png: the phase diagram, None without one.
        maps, curves: for plotly, as JSON, by metric. front: likewise, None without one.
    """

    pictures: Mapping[str, bytes]
    png: bytes | None
    maps: Mapping[str, Markup]
    curves: Mapping[str, Markup]
    front: Markup | None


def draw(story: Story) -> Drawn:
    """Draws all that there is of a story."""
    svg, plotly = _svg(story), _plotly(story)
    drawn = story.maps.get("val/accuracy")
    png = {"png": partial(paper.map_png, drawn)} if drawn is not None else {}
    found = _on_two_cores({**svg, **png, **plotly})
    return Drawn(
        pictures={name: found[name] for name in svg},
        png=found.get("png"),
        maps={metric: found[f"map {metric}"] for metric in story.maps},
        curves={metric: found[f"curve {metric}"] for metric in story.curves},
        front=found.get("plotly front"),
    )


def _on_two_cores(tasks: Tasks) -> dict[str, Any]:
    """What each task gives, by name; on one core where this process may not be forked."""
    if len(tasks) < 2 or not can_fork():
        return {name: task() for name, task in tasks.items()}
    waiting = deque(tasks)
    fork = Fork(lambda name, _: tasks[name]())
    try:
        with ThreadPoolExecutor(1) as other:
            theirs = other.submit(_work, waiting, lambda name: fork.ask(name, lambda _: None, lambda: None))
            return _work(waiting, lambda name: tasks[name]()) | theirs.result()
    finally:
        fork.end()


def _work(waiting: "deque[str]", answer: Callable[[str], Any]) -> dict[str, Any]:
    """Takes one task after the other, until none waits."""
    found: dict[str, Any] = {}
    while True:
        try:
            name = waiting.popleft()
        except IndexError:
            return found
        found[name] = answer(name)


def _svg(story: Story) -> dict[str, Callable[[], bytes]]:
    """What draws each figure as SVG; what takes longest comes first, so that two cores end at about the same time."""
    found: dict[str, Callable[[], bytes]] = {}
    if story.layers:
        found["layers"] = partial(paper.layers_svg, story.layers)
    if story.exemplars:
        found["exemplars"] = partial(paper.exemplars_svg, story.exemplars)
    if story.contest is not None:
        found["contest"] = partial(contest_svg, story.contest)
    for metric, drawn in story.maps.items():
        found[f"map-{metric.replace('/', '-')}"] = partial(paper.map_svg, drawn)
    if story.front is not None:
        found["front"] = partial(paper.front_svg, story.front)
    for metric, own in story.curves.items():
        found[f"curves-{metric.replace('/', '-')}"] = partial(paper.curves_svg, own, metric)
    if story.importance:
        found["importance"] = partial(paper.importance_svg, story.importance)
    return found


def _plotly(story: Story) -> dict[str, Callable[[], Markup]]:
    """What makes each figure of the page."""
    found: dict[str, Callable[[], Markup]] = {
        f"map {metric}": partial(_json, map_figure, drawn) for metric, drawn in story.maps.items()
    }
    found |= {f"curve {metric}": partial(_json, curve_figure, own, metric) for metric, own in story.curves.items()}
    if story.front is not None:
        found["plotly front"] = partial(_json, front_figure, story.front)
    return found


def _json(figure: Callable[..., Any], *of: Any) -> Markup:
    return figure_json(figure(*of))
