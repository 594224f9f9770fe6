"""Runs on disk while the store can't take them: a file a run, in order, in a folder a writer.

``tracking.dir/spool/STUDY/OWNER/00000012-7.run`` is the run of trial 7. A folder is owned while
its writer lives, which holds a lock on it that ends with the process; one whose lock can be
had was left behind, and what is in it may be delivered by anybody.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pipeline.config import Config
from pipeline.folders import settle
from pipeline.latch import FileLatch
from pipeline.names import slug
from pipeline.tracking.place import directory_of

__all__ = ["Spool", "left_behind", "set_aside", "spool_dir", "waiting_in"]

LOCK, SUFFIX = ".lock", ".run"
NAME = re.compile(r"^\d{8}-\d{1,9}\.run$")


def spool_dir(config: Config, study: str) -> Path:
    """The folder that holds those of a study's writers."""
    return directory_of(config) / "spool" / slug(study)


class Spool:
    """The folder of one writer.

    Nothing of it is made before ``open``; where it can't be made, ``put`` raises ``OSError``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._latch = FileLatch(folder / LOCK)

    def open(self) -> bool:
        """Makes the folder and takes it; False if it belongs to a process that lives.

        Raises:
            OSError: it can't be made.
        """
        return self._open(attempts=3)

    def _open(self, attempts: int) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            return self._latch.take()
        except FileNotFoundError:  # another writer took the folders above away, as they were empty to it
            if attempts == 1:
                raise
            return self._open(attempts - 1)

    def put(self, serial: int, trial: int, content: bytes) -> Path:
        """Stores a file, on the disk before this returns: whole, or not at all.

        Args:
            serial: its place in the order.
        """
        if not self._latch.taken and not self.open():
            raise PermissionError(f"{self.folder} belongs to another process")
        path = self.folder / f"{serial:08d}-{trial}{SUFFIX}"
        beside = path.with_suffix(".part")
        try:
            with beside.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            beside.rename(path)
        except OSError:
            with suppress(OSError):
                beside.unlink(missing_ok=True)  # a full disk needs the room
            raise
        settle(self.folder)
        return path

    def files(self) -> list[Path]:
        """What is in it, in order."""
        return sorted(path for path in self.folder.glob(f"*{SUFFIX}") if NAME.match(path.name))

    def close(self) -> None:
        """Gives the folder up, and takes it away if nothing is left in it."""
        if not self._latch.taken:
            return
        if not self.files():
            for path in (*self.folder.glob("*.part"), self._latch.path):
                with suppress(OSError):
                    path.unlink()
            for folder in (self.folder, self.folder.parent, self.folder.parent.parent):
                with suppress(OSError):  # not empty: damaged files, other writers
                    folder.rmdir()
        self._latch.let_go()


def waiting_in(folder: Path) -> set[int]:
    """The trials whose runs wait in any of the spools of a study."""
    return {int(path.stem.partition("-")[2]) for path in folder.glob(f"*/*-*{SUFFIX}") if NAME.match(path.name)}


def set_aside(path: Path) -> Path:
    """Renames a file that can't be read, so that it is kept for people and not tried again."""
    aside = path.with_suffix(".damaged")
    path.rename(aside)
    return aside


def left_behind(folder: Path) -> Iterator[Spool]:
    """The spools that dead writers of a study left, each taken over until the next is asked for.

    Args:
        folder: of the study.
    """
    for place in sorted(path for path in folder.glob("*") if path.is_dir()):
        spool = Spool(place)
        try:
            if not spool.open():
                continue
        except OSError:  # read-only, or gone: another process was faster
            continue
        try:
            yield spool
        finally:
            spool.close()
