"""Pages: the environments their templates are filled in, and how they come to stand in their place."""

import os
import re
from base64 import b64encode
from importlib import resources
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.graph_objects import Figure

from pipeline.folders import settle
from pipeline.report.plotly_js import plotly_scripts

__all__ = ["as_uri", "figure_json", "html_environment", "markdown_environment", "publish", "scripts", "stylesheet"]


TEMPLATES = resources.files("pipeline.report") / "templates"


class Raw:
    """Text that stands in Markdown as it is: code, and addresses that the lab made itself."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text


def html_environment() -> Environment:
    """Templates in which every value is escaped for HTML."""
    return Environment(loader=PackageLoader("pipeline.report"), autoescape=True, undefined=StrictUndefined)


def markdown_environment() -> Environment:
    """Templates in which every value is escaped for Markdown, in tables and out of them."""
    environment = Environment(
        loader=PackageLoader("pipeline.report"),
        undefined=StrictUndefined,
        finalize=_escaped,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["raw"] = Raw
    return environment


def _escaped(value: object) -> object:
    if not isinstance(value, str):
        return value
    one_line = " ".join(value.split())
    return re.sub(r"([\\\\`*_\[\]|])", r"\\\1", one_line).replace("<", "&lt;").replace(">", "&gt;")


def stylesheet() -> Markup:
    """The style of every page."""
    return Markup((TEMPLATES / "report.css").read_text())


def scripts() -> dict[str, list[Markup]]:
    """What a page with interactive figures needs, plotly itself among it, in its order."""
    return {"scripts": [Markup(text) for text in (*plotly_scripts(), (TEMPLATES / "report.js").read_text())]}


def as_uri(picture: bytes, kind: str = "png") -> str:
    """A picture as a ``data:`` URI."""
    return f"data:image/{kind};base64,{b64encode(picture).decode()}"


def figure_json(figure: Figure) -> Markup:
    """A figure for a ``<script type="application/json">``: no ``<`` can end the element early."""
    return Markup(str(figure.to_json()).replace("<", "\\u003c"))


def publish(path: Path, content: bytes) -> Path:
    """Writes a file beside its place and renames it, so that no reader meets half of it, nor after a loss of power."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.part")
    beside.write_bytes(content)
    settle(beside)
    beside.replace(path)
    return path
