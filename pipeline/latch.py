"""A file that one process holds at a time, until it lets go or ends."""

import fcntl
import os
from pathlib import Path

__all__ = ["FileLatch"]


class FileLatch:
    """The operating system's lock on a file, which is made where it is missing."""

    def __init__(self, path: Path) -> None:
        self.path, self._file = path, -1

    @property
    def taken(self) -> bool:
        """Whether this one holds it."""
        return self._file >= 0

    def take(self) -> bool:
        """Whether it could be had; never waits."""
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            return False
        except BaseException:
            os.close(file)
            raise
        self._file = file
        return True

    def let_go(self) -> None:
        """Gives it back."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __del__(self) -> None:
        self.let_go()
