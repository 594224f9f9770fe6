"""Pages: the environments their templates are filled in, and how they come to stand in their place."""

import os
import re
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["html_environment", "markdown_environment", "publish"]


def html_environment() -> Environment:
    """Templates in which every value is escaped for HTML."""
    return Environment(loader=PackageLoader("pipeline.report"), autoescape=True, undefined=StrictUndefined)


def markdown_environment() -> Environment:
    """Templates in which every value is escaped for Markdown, in tables and out of them."""
    return Environment(
        loader=PackageLoader("pipeline.report"),
        undefined=StrictUndefined,
        finalize=_escaped,
        trim_blocks=True,
        keep_trailing_newline=True,
    )


def _escaped(value: object) -> object:
    if not isinstance(value, str):
        return value
    one_line = " ".join(value.split())
    return re.sub(r"([\\\\`*_\[\]|])", r"\\\1", one_line).replace("<", "&lt;").replace(">", "&gt;")


def publish(path: Path, content: bytes) -> Path:
    """Writes a file beside its place and renames it, so that no reader meets half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.part")
    beside.write_bytes(content)
    beside.replace(path)
    return path
