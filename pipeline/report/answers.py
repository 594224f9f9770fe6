"""The answers as pages: Markdown with pictures beside it, and one HTML file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import __version__
from pipeline.answers import RULES, Answer, CellResult, Finding, Ranking, label, picture
from pipeline.config import Config
from pipeline.folders import check_writable, unwritable
from pipeline.report.pages import as_uri, html_environment, markdown_environment, publish, stylesheet

__all__ = ["AnswerView", "check_folder", "view", "write_answers"]


@dataclass(frozen=True)
class Grid:
    """A table as text: a caption, the head, and rows of as many cells."""

    caption: str
    head: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class AnswerView:
    """An answer as its templates print it.

    Attributes:
        claims: ``(claim, verdict, sentence)``.
        png: the picture.
        numbers: mean and standard deviation of each metric, by cell and arm.
        tests: one table a claim.
    """

    name: str
    title: str
    study: str
    experiment: str
    short: list[str]
    claims: list[tuple[str, str, str]]
    png: bytes
    numbers: list[Grid]
    tests: list[Grid]

    @property
    def picture(self) -> str:
        """The picture as a ``data:`` URI."""
        return as_uri(self.png)


def view(answer: Answer) -> AnswerView:
    """What is printed of an answer."""
    cells = len(answer.measured.cells)
    return AnswerView(
        name=answer.question.name.upper(),
        title=answer.question.title,
        study=answer.study,
        experiment=f"{answer.dataset}, {cells} cells of activation and depth, {answer.seeds} seeds each, "
        f"{answer.epochs} epochs; arms: {'; '.join(answer.measured.arms)}",
        short=answer.short,
        claims=[(f.claim.text, f.verdict, f.sentence) for f in answer.findings],
        png=picture(answer),
        numbers=[_numbers(answer, metric) for metric in answer.question.metrics],
        tests=[_tests(finding) for finding in answer.findings],
    )


def _numbers(answer: Answer, metric: str) -> Grid:
    measured = answer.measured
    rows = []
    for cell in measured.cells:
        spreads = [measured.spread(cell, arm, metric) for arm in measured.arms]
        rows.append([*_cell(cell), *[f"{_number(s.mean)} ({_number(s.std)})" for s in spreads]])
    return Grid(f"{label(metric)}, mean (standard deviation)", ["activation", "depth", *measured.arms], rows)


def _tests(finding: Finding) -> Grid:
    head = ["activation", "depth", "difference", "95 % interval", "d_z", "seeds", "p (Holm)", "says"]
    return Grid(
        f"{finding.claim.text} {finding.claim.contrast}; margin {finding.claim.margin:g}.", head, _rows(finding)
    )


def _rows(finding: Finding) -> list[list[str]]:
    return [[*_cell(result.cell), *_result(result)] for result in finding.results]


def _cell(cell: tuple[str, int]) -> list[str]:
    return [cell[0], str(cell[1])]


def _result(result: CellResult) -> list[str]:
    d = result.comparison.difference
    p = "< 0.001" if result.p < 0.001 else f"{result.p:.3f}"
    interval = f"{_number(d.low, '+')} to {_number(d.high, '+')}"
    return [_number(d.mean, "+"), interval, _effect(result.comparison.effect), str(d.count), p, result.outcome]


def _number(value: float, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value + 0.0:{sign}.3f}"


def _effect(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:+.1f}" if math.isfinite(value) else ("+" if value > 0 else "-") + "infinite"


def check_folder(config: Config) -> None:
    """Finds out before anything is trained whether the answers can be written.

    Raises:
        UsageError: they can't.
    """
    check_writable(Path(config.report.answers) / "answers", "report.answers", config.report.answers)


def write_answers(config: Config, answers: Sequence[Answer], ranking: Ranking | None = None) -> list[Path]:
    """Writes ``answers.md`` with its pictures into ``report.answers``, and the HTML page.

    Args:
        ranking: how the verdict before training did, for a section of its own.

    Returns:
        The paths written, for people to open.
    """
    folder = Path(config.report.answers)
    views = [view(answer) for answer in answers]
    shared = {"answers": views, "ranking": ranking, "rules": RULES, "version": __version__, "as_uri": as_uri}
    markdown = markdown_environment().get_template("answers.md.j2").render(shared)
    html = html_environment().get_template("answers.html.j2").render(shared, css=stylesheet(), ui="", experiment="")
    page = Path(config.tracking.dir) / "reports" / "answers" / "answers.html"
    try:
        for shown in views:
            publish(folder / "answers" / f"{shown.name.lower()}.png", shown.png)
        if ranking is not None:
            publish(folder / "answers" / "verdict.png", ranking.png)
        return [publish(page, html.encode()), publish(folder / "answers.md", markdown.encode())]
    except OSError as error:
        raise unwritable("report.answers", config.report.answers, error) from None
