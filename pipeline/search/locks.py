"""Locks that exclude the other workers of a study, on this host and on others.

A lock ends with the process that holds it, however it ends: on a file it is the operating
system's, in a database server it is the session's. Those of PostgreSQL and MySQL hold for all
hosts; those on files for all that share the file system.
"""

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol

from sqlalchemy import Connection, Engine, text

__all__ = ["FileLatch", "Latch", "Lock", "SessionLatch"]

FIRST_WAIT_S, LONGEST_WAIT_S = 0.001, 0.05


class Latch(Protocol):
    """What a lock is made of."""

    def take(self) -> bool:
        """Whether it could be had; never waits."""

    def let_go(self) -> None:
        """Gives it back."""


class FileLatch:
    """The operating system's lock on a file, which is made where it is missing."""

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, -1

    def take(self) -> bool:
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        self._file = file
        return True

    def let_go(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        self.let_go()


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
        except BaseException:
            session.invalidate()  # a session that ends lets go too
            raise


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
        pause = FIRST_WAIT_S
        while not self.take():
            self._check()
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_WAIT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
