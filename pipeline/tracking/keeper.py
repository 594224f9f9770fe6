"""Moves to disk what the store doesn't take, and tells what became of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pipeline.names import counted
from pipeline.tracking.backlog import Backlog
from pipeline.tracking.outage import kept_in
from pipeline.waiting import POLL_S

__all__ = ["Keeper"]

# Seconds that whoever has runs kept waits for it.
KEEP_S = 2.0


class Keeper:
    """Keeps the runs of a backlog, on a thread of its own: nobody else must wait for a disk that has stopped.

    Attributes:
        fails: whether the disk has not taken what it was given last.
        lost: runs that neither disk nor memory took.
        error: what came in its way that no disk is to blame for.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._kept: bool | None = True
        self.fails, self.lost = False, 0
        self.error: Exception | None = None

    @property
    def busy(self) -> bool:
        """Whether it is at it."""
        return self._thread is not None and self._thread.is_alive()

    def keep(self, seconds: float = KEEP_S) -> bool | None:
        """Moves to disk what is in memory; False if the disk doesn't take it, None if that lasts longer."""
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._kept = None
                self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)
                self._thread.start()
            thread = self._thread
        thread.join(seconds)
        return self._kept

    def _run(self) -> None:
        try:
            kept = self._backlog.keep()
        except Exception as error:
            self.error, kept = error, False
        self.fails, self._kept = not kept, kept

    def meanwhile(self) -> str:
        """Keeps what waits while the store is away; says what becomes of it."""
        folder, kept = self._backlog.spool.folder, self.keep()
        if kept:
            return kept_in(folder)
        if kept is None:
            return f"runs are moved to {folder} as far as that takes them, and delivered when it is back"
        return f"runs are held in memory, as {folder} can't be written either, and delivered when it is back"

    def in_the_end(self, seconds: float, check: Callable[[], None]) -> str:
        """Keeps what waits for the next process, as far as there is time; says what becomes of it, if there is any.

        Args:
            check: called while it waits; what it raises ends the waiting.
        """
        until = time.monotonic() + seconds
        while self._backlog.in_memory and time.monotonic() < until:
            check()
            if self.keep(POLL_S) is False:
                break
        kept, lost, folder = self._backlog.on_disk, self.lost + self._backlog.in_memory, self._backlog.spool.folder
        lines = []
        if kept:
            lines.append(
                f"{counted(kept, 'run')} kept in {folder}, for the next `initlab sweep` of the study to deliver"
            )
        if lost:
            lines.append(
                f"{counted(lost, 'run')} could not be kept: the next `initlab sweep` of the study trains again"
            )
        return "; ".join(lines)
