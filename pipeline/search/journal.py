"""Optuna's journal file, as it must be for processes that may be killed at any moment."""

import fcntl
import os
from pathlib import Path
from threading import Lock

from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock  # what the backend asks for, not exported

__all__ = ["Journal"]


class _Lock(BaseJournalFileLock):
    """The operating system's lock, which ends with the process that holds it.

    Optuna's own are files that a killed process leaves behind: the next waits half a minute
    for them, or, where the link's relative target is not found from its folder, for ever.

    A line that a full disk or a killed process cut off in its middle was not stored. Whoever
    is to write next takes it away, as it would make what follows unreadable.
    """

    def __init__(self, journal: Path) -> None:
        self._journal, self._thread = journal, Lock()
        self._path, self._file = journal.with_name(f"{journal.name}.held"), -1

    def acquire(self) -> bool:
        self._thread.acquire()
        try:
            if self._file < 0:
                self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._file, fcntl.LOCK_EX)
            _cut_torn_line(self._journal)
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        if self._file >= 0:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._thread.release()

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)


class Journal(JournalFileBackend):
    """A journal of one operation a line."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Lock(path))


def _cut_torn_line(path: Path, block: int = 1 << 16) -> None:
    """Cuts what stands behind the last line end; most often nothing, so that one byte is read."""
    with path.open("r+b") as file:
        size = end = file.seek(0, 2)
        file.seek(max(0, size - 1))
        if file.read(1) in (b"", b"\n"):
            return
        while end:
            start = max(0, end - block)
            file.seek(start)
            if (found := file.read(end - start).rfind(b"\n")) >= 0:
                end = start + found + 1
                break
            end = start
        file.truncate(end)
