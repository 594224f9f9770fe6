"""Moves to disk what the store doesn't take, and tells what became of it."""

from __future__ import annotations

from pipeline.names import counted
from pipeline.tracking.backlog import Backlog
from pipeline.tracking.outage import kept_in

__all__ = ["Keeper"]


class Keeper:
    """Keeps the runs of a backlog.

    Attributes:
        fails: whether the disk has not taken what it was given last.
        lost: runs that neither disk nor memory took.
    """

    def __init__(self, backlog: Backlog) -> None:
        self._backlog = backlog
        self.fails, self.lost = False, 0

    def keep(self) -> bool:
        """Moves to disk what is in memory; False if the disk doesn't take it."""
        self.fails = not self._backlog.keep()
        return not self.fails

    def meanwhile(self) -> str:
        """Keeps what waits while the store is away; says what becomes of it."""
        folder = self._backlog.spool.folder
        if self.keep():
            return kept_in(folder)
        return f"runs are held in memory, as {folder} can't be written either, and delivered when it is back"

    def in_the_end(self, seconds: float) -> str:
        """Keeps what waits for the next process, as far as there is time; says what becomes of it, if there is any."""
        self._backlog.keep(seconds)
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
