"""SIGINT and SIGTERM, taken at points where nothing is half done.

Python raises a signal's exception wherever it happens to be: inside an import that holds
a lock, or in a callback that swallows it. So long work runs under ``deferred``: there a
signal is only noted, and ``check`` raises it at points that can bear it.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

__all__ = ["Terminated", "check", "deferred", "install"]


class Terminated(BaseException):
    """SIGTERM, as KeyboardInterrupt is SIGINT."""


_noted: list[int] = []


def install() -> None:
    """Makes SIGTERM raise ``Terminated`` and SIGINT ``KeyboardInterrupt``, outside ``deferred``.

    A process that a script starts in the background is born with SIGINT ignored.
    """
    _noted.clear()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _raise)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not cut the closing short
    raise Terminated


def _note(number: int, frame: FrameType | None) -> None:
    _noted.append(number)


@contextmanager
def deferred() -> Iterator[None]:
    """Within it, a first signal waits for ``check`` or for the end, and further ones change nothing."""
    before = {number: signal.signal(number, _note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    check()


def check() -> None:
    """Raises the signal that was noted, if there was one."""
    if _noted:
        raise KeyboardInterrupt if _noted[0] == signal.SIGINT else Terminated
