"""Packages whose names are imported when they are first used: some libraries take seconds."""

import gc
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any

__all__ = ["imports", "lazily"]


@contextmanager
def imports() -> Iterator[None]:
    """For imports of large libraries: a million objects come with them and stay.

    The collector need not go through them again and again, neither while they come (a fifth
    of that time) nor later.
    """
    collects, known = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
        if len(sys.modules) > known:
            gc.freeze()
    finally:
        if collects:
            gc.enable()


def lazily(package: str, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """The ``__getattr__`` (PEP 562) of a package.

    Args:
        modules: by public name, the module of the package that it stands in.
    """

    def find(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        path = f"{package}.{modules[name]}"
        with nullcontext() if path in sys.modules else imports():
            found = getattr(import_module(path), name)
        setattr(sys.modules[package], name, found)  # is there from now on
        return found

    return find
