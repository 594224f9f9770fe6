"""Writes beside the training: one thread, in order, nothing dropped, whatever becomes of the store.

While the store works, what is submitted goes straight to it. While it is away, what waits is
kept on disk, and delivered in the same order when it is back. A process that is to end
does not wait for the store: what it leaves on disk the next one delivers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from pipeline.errors import RunError
from pipeline.interrupt import check as check_signals
from pipeline.names import counted
from pipeline.tracking.backlog import MOST_IN_MEMORY, Backlog
from pipeline.tracking.courier import Courier
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.keeper import Keeper
from pipeline.tracking.outage import Outage
from pipeline.tracking.spool import Spool
from pipeline.tracking.trial import TrialRun
from pipeline.waiting import FIRST_PAUSE_S, POLL_S, SILENCE_S, Watch, pauses

__all__ = ["Writer"]

# Trials that may wait in memory before training waits for the writer,
PENDING = 64
# and seconds after which it doesn't wait any more for one that writes nothing:
STALL_S = 2.0
# then only, with so many, until the disk has taken some, if it does.
CROWDED = MOST_IN_MEMORY // 2
# The first thing that it does may be to make a store.
BEGIN_S = 10.0
# Seconds that a process which is to end leaves a working store for what waits.
GRACE_S = 2.0
STOP_S = 0.5
# and those that it takes to keep it on disk.
KEEP_S = 4.0


class Writer:
    """Hands what is submitted to a courier, on a thread of its own.

    A run that the store refuses makes the next ``submit`` fail, or the end of the context; it
    doesn't keep others out. On any way out of the context, what was submitted is in the
    store, or on disk if the store is away.

    Raises:
        RunError: at the end of the context the store was away for ``tracking.patience_s``.
    """

    def __init__(self, courier: Courier, spool: Spool, outage: Outage) -> None:
        self._outage = outage
        self._backlog = Backlog(spool, courier.prepare)
        self._delivery = Delivery(courier, self._backlog, outage, self._on_written)
        self._keeper = Keeper(self._backlog)
        self._watch = Watch(self._look)
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="tracking", daemon=True)
        self._ending = self._stop = self._away = False
        self._late = 0

    def __enter__(self) -> Writer:
        self._delivery.moved = time.monotonic()
        with suppress(OSError):  # tried again when it is needed
            self._backlog.spool.open()
        self._thread.start()
        self._watch.start()
        return self

    def submit(self, trial: TrialRun) -> None:
        """Queues a trial; waits while ``PENDING`` of them are queued and the store takes them."""
        if not self._backlog:
            self._delivery.moved = time.monotonic()
        if not self._backlog.append(trial):
            self._keeper.lost += 1
        self._notify()
        with self._changed:
            while self._crowded and not (self._delivery.error or self._keeper.error):
                self._changed.wait(POLL_S)
                check_signals()
        self._raise()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._close_and_tell()
            return
        try:
            self._drain()
            left = self._close(self._outage.patience_s, check_signals)
        except BaseException:  # a signal
            self._close_and_tell()
            raise
        self._raise()
        if left:
            raise RunError(f"{self._outage.sentence if self._away else self._outage.what}; {left}")

    @property
    def _stuck(self) -> bool:
        return self._away or time.monotonic() > self._delivery.moved + (STALL_S if self._delivery.begun else BEGIN_S)

    @property
    def _crowded(self) -> bool:
        """Whether what is queued should become less before more comes."""
        waiting = self._backlog.in_memory
        return waiting >= CROWDED and not self._keeper.fails if self._stuck else waiting >= PENDING

    @property
    def _silent(self) -> bool:
        return self._delivery.work and time.monotonic() > self._delivery.moved + SILENCE_S

    def _look(self) -> None:
        """Now and then, from a thread that never waits for the store: a disk that has stopped fails no call."""
        if self._silent and not self._away:
            meanwhile = self._keeper.meanwhile()
            with self._changed:
                if self._silent:
                    self._away = True
                    self._outage.silent(SILENCE_S)
                    self._outage.away(meanwhile)
        elif self._stuck and self._backlog.in_memory >= PENDING:
            self._keeper.keep()

    def _raise(self) -> None:
        if error := self._delivery.error or self._keeper.error:
            raise error

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _drain(self) -> None:
        """Waits for all to be written, as long as the store is worth it."""
        self._ending, began, told = True, time.monotonic(), False
        self._notify()
        while self._thread.is_alive():
            check_signals()
            self._thread.join(POLL_S)
            if self._away and not told:
                left, limit = counted(len(self._backlog), "run"), f"{self._outage.patience_s:g} s"
                self._outage.say(f"{self._outage.what}: waiting up to {limit} for {left} to be delivered")
                told = True
            if time.monotonic() > max(began, self._delivery.moved) + self._outage.patience_s:
                return

    def _close_and_tell(self) -> None:
        if left := self._close(KEEP_S, lambda: None):
            self._outage.say(left)

    def _close(self, seconds: float, check: Callable[[], None]) -> str:
        """Ends the thread; returns what is said of the runs that it hasn't written.

        Args:
            seconds: that keeping them may take. check: called meanwhile.
        """
        self._ending = True
        self._notify()
        if not self._away and time.monotonic() < self._delivery.moved + STALL_S:
            self._thread.join(GRACE_S)
        self._stop = True
        self._notify()
        self._thread.join(STOP_S)
        self._watch.end(STOP_S)
        left = "" if self._delivery.given_up else self._keeper.in_the_end(seconds, check)
        if not (self._thread.is_alive() or self._keeper.busy):
            self._backlog.spool.close()
        return left

    def _run(self) -> None:
        """The thread."""
        try:
            waits = pauses()
            while self._has_work():
                if self._delivery.attempt():
                    self._works()
                    waits = pauses()
                else:
                    self._pause(next(waits))
        except BaseException as error:
            self._delivery.error = self._delivery.error or error
        self._notify()

    def _has_work(self) -> bool:
        """Waits for some; False at the end."""
        with self._changed:
            while not (self._stop or self._delivery.work or self._ending):
                self._changed.wait()
            return self._delivery.work and not self._stop

    def _on_written(self, count: int) -> None:
        self._late += count if self._away else 0
        self._notify()

    def _works(self) -> None:
        """The store took what it was given."""
        with self._changed:
            if not self._delivery.work:
                late = f"; {counted(self._late, 'run')} that had waited: delivered" if self._late else ""
                self._outage.back(late)
                self._away, self._late = False, 0

    def _pause(self, seconds: float) -> None:
        """Lets the store come back; from the second pause on, what waits meanwhile goes to disk."""
        lasts, until = self._away or seconds > FIRST_PAUSE_S, time.monotonic() + seconds
        while not self._stop and (left := until - time.monotonic()) > 0:
            if lasts:
                self._outage.away(self._keeper.meanwhile())
                self._away = True
            with self._changed:
                self._changed.wait(left)
