"""What is still to be written to the store, in order: in memory, and on disk where that lasts too long."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.tracking.spool import Spool, set_aside
from pipeline.tracking.trial import TrialRun

if TYPE_CHECKING:  # MLflow takes seconds to import
    from pipeline.tracking.finished import FinishedRun

__all__ = ["MOST_IN_MEMORY", "Backlog", "Entry"]

# Trials that are held in memory while neither the store nor the disk takes them.
MOST_IN_MEMORY = 1024


@dataclass(eq=False)
class Entry:
    """A trial that the store doesn't have yet.

    Attributes:
        serial: its place in the order.
        trial: as it was submitted; None once it is on disk.
        file: where it is on disk, if it is.
        tried: whether the store may have it, or a part of it, all the same.
    """

    serial: int
    number: int
    trial: TrialRun | None
    file: Path | None = None
    tried: bool = False
    done: bool = False


class Backlog:
    """A queue whose items can be moved to disk, each in its place. For use by several threads.

    Args:
        prepare: makes of a trial the run that is stored.
    """

    def __init__(self, spool: Spool, prepare: Callable[[TrialRun], FinishedRun]) -> None:
        self.spool, self._prepare = spool, prepare
        self._entries: deque[Entry] = deque()
        self._serial = 0
        self._lock = threading.Lock()  # of the queue
        self._files = threading.RLock()  # of what is on disk

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def in_memory(self) -> int:
        """How many of them are in memory."""
        with self._lock:
            return sum(entry.file is None for entry in self._entries)

    @property
    def on_disk(self) -> int:
        return len(self) - self.in_memory

    def append(self, trial: TrialRun) -> bool:
        """Adds one; False, and it isn't added, where memory is all there is and that is full."""
        if self.in_memory >= MOST_IN_MEMORY:
            return False
        with self._lock:
            self._entries.append(Entry(self._serial, trial.number, trial))
            self._serial += 1
        return True

    def first(self, count: int) -> list[Entry]:
        """The next ones to write."""
        with self._lock:
            return list(islice(self._entries, count))

    def load(self, entry: Entry) -> FinishedRun | None:
        """The run of an entry; None if its file is damaged, which is then set aside."""
        from pipeline.tracking.packing import DamagedError, unpack

        with self._files:
            trial, file = entry.trial, entry.file
        if trial is not None:
            return self._prepare(trial)
        assert file is not None
        try:
            return unpack(file.read_bytes())
        except (DamagedError, OSError):
            with suppress(OSError):
                set_aside(file)
            return None

    def remove(self, entries: Sequence[Entry]) -> None:
        """They are in the store."""
        with self._files:
            for entry in entries:
                entry.done = True
                if entry.file is not None:
                    with suppress(OSError):  # what stays is looked for in the store before it is delivered
                        entry.file.unlink(missing_ok=True)
        with self._lock:
            gone = set(entries)
            self._entries = deque(entry for entry in self._entries if entry not in gone)

    def keep(self) -> bool:
        """Moves to disk what is in memory, the oldest first; False if the disk doesn't take it."""
        from pipeline.tracking.packing import pack

        for entry in self.first(len(self)):
            with self._files:
                if entry.done or entry.trial is None:
                    continue
                try:
                    entry.file = self.spool.put(entry.serial, entry.number, pack(self._prepare(entry.trial)))
                except OSError:
                    return False
                entry.trial = None
        return True
