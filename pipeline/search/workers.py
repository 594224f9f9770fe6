"""Who works on a study: every worker leaves a sign of life in its storage.

Optuna writes heartbeats in ``optimize()`` alone and for databases alone. Here each worker,
whatever the storage, counts on every few seconds under an attribute of the study. Others take
it for dead when the count has stood still for a while by their own clock, so that clocks of
hosts need not agree. A worker of the same host holds a lock on a file besides, which ends
with it: its death is known at once.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from optuna.storages import BaseStorage

from pipeline.latch import FileLatch
from pipeline.names import own_name, slug

__all__ = ["BEAT_S", "SILENCE_S", "Workers"]

BEAT_S = 8.0
# Without a sign for so long a worker of another host counts as dead.
SILENCE_S = 40.0
PREFIX = "worker "


class Workers:
    """The workers of a study, and this one among them once it has joined.

    Args:
        folder: for the files that this host's workers hold.

    Attributes:
        own: the name of this one, of which there is no second.
    """

    def __init__(
        self, storage: BaseStorage, study: int, folder: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._storage, self._study, self._clock = storage, study, clock
        self._folder = folder.resolve()
        self.own = own_name()
        self._latch = FileLatch(self._file(self.own))
        self._count, self._trains = 0, True
        self._seen: dict[str, tuple[int, float]] = {}  # by worker: its count, and when that was new
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def join(self) -> "Workers":
        """Gives the first sign of life."""
        self._latch.take()
        self.beat()
        return self

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.alive"

    def beat(self) -> None:
        """Gives a sign of life."""
        self._count += 1
        sign = {"count": self._count, "host": _host(), "folder": str(self._folder), "trains": self._trains}
        self._storage.set_study_user_attr(self._study, PREFIX + self.own, sign)

    def lead(self) -> None:
        """Says that this one trains nothing, but follows others."""
        self._trains = False
        self.beat()

    def start(self) -> None:
        """Gives one now and then, from a thread."""
        if self._thread is not None:
            return
        self._thread = threading.Thread(target=self._go_on, name="signs of life", daemon=True)
        self._thread.start()

    def _go_on(self) -> None:
        while not self._stop.wait(BEAT_S):
            try:
                self.beat()
            except Exception:  # the storage is away: what the study does next will say so
                continue

    def rest(self) -> None:
        """Ends the thread: there are no trials any more that others could wait for."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def end(self) -> None:
        """Says that this worker has gone."""
        self.rest()
        try:
            self._storage.set_study_user_attr(self._study, PREFIX + self.own, None)
        finally:
            self._latch.path.unlink(missing_ok=True)
            self._latch.let_go()

    def alive(self, name: str | None) -> bool:
        """Whether a worker is at work, this one or another."""
        return name in self.others() or (name == self.own and self._latch.taken)

    def others(self, training: bool = False) -> set[str]:
        """The other workers that are alive, or those of them that train."""
        signs = {name: sign for name, sign in self._signs().items() if self._lives(name, sign)}
        return {name for name, sign in signs.items() if sign.get("trains", True) or not training}

    def bury(self) -> None:
        """Forgets the dead, so that nobody need look at them again."""
        for name, sign in self._signs().items():
            if not self._lives(name, sign):
                self._storage.set_study_user_attr(self._study, PREFIX + name, None)
                if self._near(name, sign):
                    self._file(name).unlink(missing_ok=True)

    def _signs(self) -> dict[str, dict[str, Any]]:
        """What the other workers have left."""
        attributes = dict(self._storage.get_study_user_attrs(self._study))
        signs = {key.removeprefix(PREFIX): sign for key, sign in attributes.items() if key.startswith(PREFIX) and sign}
        return {name: sign for name, sign in signs.items() if name != self.own}

    def _near(self, name: str, sign: dict[str, Any]) -> bool:
        """Whether the file that a worker holds can be looked at here."""
        return (sign["host"], sign["folder"]) == (_host(), str(self._folder)) and slug(name) == name

    def _lives(self, name: str, sign: dict[str, Any]) -> bool:
        if self._near(name, sign):
            return _held(self._file(name))
        now = self._clock()
        count, since = self._seen.get(name, (None, now))
        if count != sign["count"]:
            since = now
        self._seen[name] = (sign["count"], since)
        return now - since < SILENCE_S


def _held(path: Path) -> bool:
    """Whether a process holds the file."""
    if not path.exists():
        return False
    latch = FileLatch(path)
    try:
        free = latch.take()
    except OSError:
        return False
    latch.let_go()
    return not free


def _host() -> str:
    """This host as long as it runs, and, of containers on it, this one: processes of one can see each other's locks."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/mnt')}"  # noqa: PTH115  (not a path)
    except OSError:
        return socket.gethostname()
