"""A storage that is away for a while is waited for: a database that restarts, a disk that is full."""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pipeline.databases import database_is_away
from pipeline.errors import RunError
from pipeline.waiting import SILENCE_S, pause, pauses

__all__ = ["AWAY", "Patience", "is_away"]

AWAY = (StorageInternalError, DBAPIError, PoolTimeoutError, OSError)
"""What a storage raises that is away, among other things: ``is_away`` tells."""

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOLCK}

Result = TypeVar("Result")


def is_away(error: BaseException) -> bool:
    """Whether it may work if it is tried again later."""
    if isinstance(error, StorageInternalError):
        return error.__cause__ is None or is_away(error.__cause__)
    return database_is_away(error) or (isinstance(error, OSError) and error.errno in DISK)


class Patience:
    """Calls that are made again while the storage is away, for so many seconds.

    Args:
        store: what the storage is called before people.
        tell: shows them a line, when it goes away and when it is back.
    """

    def __init__(self, seconds: float, store: str, tell: Callable[[str], None]) -> None:
        self._seconds, self._store, self._tell = seconds, store, tell
        self._since: float | None = None  # of the call that is under way
        self._told = False

    def __call__(self, call: Callable[[], Result]) -> Result:
        """What ``call`` returns. It may have done its work when it raises: it must bear being made twice.

        Raises:
            RunError: the storage is still away.
        """
        begun = time.monotonic()
        for seconds in pauses():
            try:
                result = self._watched(call)
            except AWAY as error:
                if not is_away(error):
                    raise
                self._away(f"away ({_reason(error)})")
                if time.monotonic() - begun > self._seconds:
                    raise self.too_long(error) from None
            else:
                if self._told:
                    self._tell(f"search.storage={self._store}: back")
                self._told = False
                return result
            pause(seconds)
        raise AssertionError  # there is always another pause

    def look(self) -> None:
        """To be called now and then, from a thread: tells of a call that neither returns nor fails."""
        since = self._since
        if since is not None and time.monotonic() > since + SILENCE_S:
            self._away(f"no answer for {SILENCE_S:g} s; it is away or busy")

    def _watched(self, call: Callable[[], Result]) -> Result:
        self._since = time.monotonic()
        try:
            return call()
        finally:
            self._since = None

    def _away(self, reason: str) -> None:
        if not self._told:
            self._told = True
            self._tell(f"search.storage={self._store}: {reason}; what is ready waits for it")

    def too_long(self, error: BaseException) -> RunError:
        """What is said when waiting has no end."""
        return RunError(
            f"search.storage={self._store}: away ({_reason(error)}); the same command goes on where it stopped"
        )


def _reason(error: BaseException) -> str:
    """In a few words, and without the address, which may hold a password."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error.__cause__ or error).__name__
