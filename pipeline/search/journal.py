"""Optuna's journal file, as it must be for processes that may be killed at any moment."""

from pathlib import Path
from typing import Any

from filelock import FileLock
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import BaseJournalFileLock  # what the backend asks for, not exported

__all__ = ["Journal"]


class _Lock(BaseJournalFileLock):
    """The operating system's lock, which ends with the process that holds it.

    Optuna's own are files that a killed process leaves behind: the next waits half a minute
    for them, or, where the link's relative target is not found from its folder, for ever.
    """

    def __init__(self, path: Path) -> None:
        self._lock = FileLock(path, poll_interval=0.005)

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


class Journal(JournalFileBackend):
    """A journal of one operation a line.

    A line that a full disk or a killed process cut off in its middle was not stored. It is
    taken away before the next is written, which would make it unreadable.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path), _Lock(path.with_name(f"{path.name}.held")))

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._lock.acquire()
        try:
            _cut_torn_line(Path(self._file_path))
            super().append_logs(logs)  # within the lock, which is counted
        finally:
            self._lock.release()


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
