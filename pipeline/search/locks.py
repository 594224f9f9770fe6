"""Locks that exclude the other workers of a study, on this host and on others.

A lock ends with the process that holds it, however it ends: on a file it is the operating
system's, in a database server it is the session's. Those of PostgreSQL and MySQL hold for all
hosts; those on files for all that share the file system.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Protocol

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

__all__ = ["Latch", "Lock", "SessionLatch"]

FIRST_WAIT_S, LONGEST_WAIT_S = 0.001, 0.05


class Latch(Protocol):
    """What a lock is made of."""

    def take(self) -> bool:
        """Whether it could be had; never waits."""

    def let_go(self) -> None:
        """Gives it back."""


class SessionLatch:
    """A lock of a session with a database server: ``pg_try_advisory_lock`` or ``GET_LOCK``."""

    def __init__(self, engine: Engine, name: str) -> None:
        digest = hashlib.sha256(name.encode()).digest()
        self._engine, self._mysql = engine, engine.dialect.name in ("mysql", "mariadb")
        self._key: int | str = digest.hex()[:60] if self._mysql else int.from_bytes(digest[:8], "big", signed=True)
        self._session: Connection | None = None

    def take(self) -> bool:
        session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        call = "GET_LOCK(:key, 0)" if self._mysql else "pg_try_advisory_lock(:key)"
        if session.execute(text(f"SELECT {call}"), {"key": self._key}).scalar_one():
            self._session = session
            return True
        session.close()
        return False

    def let_go(self) -> None:
        session, self._session = self._session, None
        if session is None:
            return
        call = "RELEASE_LOCK(:key)" if self._mysql else "pg_advisory_unlock(:key)"
        try:
            session.execute(text(f"SELECT {call}"), {"key": self._key})
            session.close()
        except DBAPIError:  # the server is away: a session that ends lets go too
            session.invalidate()


class Lock:
    """A latch that can be waited for, by one thread of the process at a time. Use as a context.

    Args:
        check: called now and then while it waits; what it raises ends the waiting.
    """

    def __init__(self, latch: Latch, check: Callable[[], None] = lambda: None) -> None:
        self._latch, self._check, self._threads = latch, check, threading.Lock()

    def take(self) -> bool:
        """Whether it could be had at once."""
        if not self._threads.acquire(blocking=False):
            return False
        return self._taken()

    def _taken(self) -> bool:
        try:
            taken = self._latch.take()
        except BaseException:
            self._threads.release()
            raise
        if not taken:
            self._threads.release()
        return taken

    def let_go(self) -> None:
        try:
            self._latch.let_go()
        finally:
            self._threads.release()

    def __enter__(self) -> "Lock":
        self._wait(self._check)
        return self

    def _wait(self, check: Callable[[], None]) -> None:
        pause = FIRST_WAIT_S
        while not self.take():
            check()
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_WAIT_S)

    @contextmanager
    def closing(self) -> Iterator[None]:
        """The same for what a worker does as it ends, which the signal that ended it must not cut short."""
        self._wait(lambda: None)
        try:
            yield
        finally:
            self.let_go()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
