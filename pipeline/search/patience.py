"""A storage that is away for a while is waited for: a database that restarts, a disk that is full."""

import errno
import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from pipeline.errors import RunError

__all__ = ["AWAY", "Patience", "is_away"]

AWAY = (StorageInternalError, DBAPIError, PoolTimeoutError, OSError)
"""What a storage raises that is away, among other things: ``is_away`` tells."""

DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOLCK}
FIRST_PAUSE_S, LONGEST_PAUSE_S, POLL_S = 0.2, 5.0, 0.1

Result = TypeVar("Result")


def is_away(error: BaseException) -> bool:
    """Whether it may work if it is tried again later."""
    if isinstance(error, StorageInternalError):
        return error.__cause__ is None or is_away(error.__cause__)
    if isinstance(error, DBAPIError):
        return isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
    return isinstance(error, PoolTimeoutError) or (isinstance(error, OSError) and error.errno in DISK)


class Patience:
    """Calls that are made again while the storage is away, for so many seconds.

    Args:
        store: what the storage is called before people.
        tell: shows them a line, when it goes away and when it is back.
        check: called while it waits; what it raises ends the waiting.
    """

    def __init__(self, seconds: float, store: str, tell: Callable[[str], None], check: Callable[[], None]) -> None:
        self._seconds, self._store, self._tell, self._check = seconds, store, tell, check

    def __call__(self, call: Callable[[], Result]) -> Result:
        """What ``call`` returns. It may have done its work when it raises: it must bear being made twice.

        Raises:
            RunError: the storage is still away.
        """
        begun, pause = time.monotonic(), FIRST_PAUSE_S
        while True:
            try:
                result = call()
            except AWAY as error:
                if not is_away(error):
                    raise
                if pause == FIRST_PAUSE_S:
                    self._tell(f"search.storage={self._store}: away ({_reason(error)}); what is ready waits for it")
                if time.monotonic() - begun > self._seconds:
                    raise self.too_long(error) from None
                self._wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                if pause > FIRST_PAUSE_S:
                    self._tell(f"search.storage={self._store}: back")
                return result

    def too_long(self, error: BaseException) -> RunError:
        """What is said when waiting has no end."""
        return RunError(
            f"search.storage={self._store}: away ({_reason(error)}); the same command goes on where it stopped"
        )

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self._check()
            time.sleep(POLL_S)


def _reason(error: BaseException) -> str:
    """In a few words, and without the address, which may hold a password."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error.__cause__ or error).__name__
