"""What no configuration may hold, whoever wrote it: text that isn't text, and code that the user hasn't let in."""

import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.config.networks import TARGETS
from pipeline.errors import UsageError

__all__ = ["check_code", "check_texts"]

OPT_IN = "allow_custom_code"
# What Hydra's ``instantiate`` takes for orders. It goes down into arguments, so they count at any depth.
ORDERS = ("_target_", "_args_", "_partial_", "_recursive_", "_convert_")
# Cc: control characters; Cs: bytes of a command line that are no UTF-8.
NO_TEXT = ("Cc", "Cs")
DEEPEST = 50


def check_texts(tree: Mapping[str, Any]) -> None:
    """Raises ``UsageError`` for control characters and broken UTF-8 in keys and values, and for endless nesting.

    Values become names of runs and files, lines on terminals and rows of databases, each of
    which has its own trouble with them.
    """
    for path, value in _leaves(tree):
        for text in (path, value):
            if (
                isinstance(text, str)
                and not text.isprintable()
                and any(unicodedata.category(c) in NO_TEXT for c in text)
            ):
                raise UsageError.of(path, value, "must hold no control characters, and be UTF-8")


def check_code(tree: Mapping[str, Any]) -> None:
    """Raises ``UsageError`` where the configuration names code to run, other than the lab's own networks.

    Nothing of it is imported before. ``allow_custom_code=true`` lets it in.
    """
    if tree.get(OPT_IN) is True:
        return
    for path, value in _leaves(tree):
        if any(part in ORDERS for part in path.split(".")) and not _own(path, value):
            allowed = f"runs code from outside of the lab; if that is meant, give {OPT_IN}=true as well"
            raise UsageError.of(path, value, allowed)


def _own(path: str, value: Any) -> bool:
    """Whether it is the network of one of the lab's groups, in its place. A missing one is said elsewhere."""
    return path.endswith("model._target_") and (value in TARGETS.values() or not isinstance(value, str))


def _leaves(node: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """``(dotted path, value)`` of all that is no mapping and no list; of an empty one too."""
    if depth > DEEPEST:
        raise UsageError.of(path, "...", f"is nested more than {DEEPEST} deep")
    inner: Iterator[tuple[Any, Any]]
    if isinstance(node, Mapping) and node:
        inner = iter(node.items())
    elif isinstance(node, list) and node:
        inner = enumerate(node)
    else:
        yield path, node
        return
    for key, value in inner:
        yield from _leaves(value, f"{path}.{key}" if path else str(key), depth + 1)
