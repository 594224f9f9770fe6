"""Hands what waits to the store, in order: what it refuses keeps nothing else out, what fails is tried again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pipeline.tracking.backlog import Backlog, Entry
from pipeline.tracking.courier import Courier
from pipeline.tracking.outage import Outage

if TYPE_CHECKING:  # MLflow takes seconds to import
    from pipeline.tracking.finished import FinishedRun

__all__ = ["Delivery"]

# Runs refused one after the other, after which the store is taken to refuse them all.
REFUSED = 2
# Failures in a row after which, when the first run that waits fails again, the second is tried at once.
STEP_OVER = 3
# Seconds that a call should take at most: while more are under way at once, nobody sees that they go on.
CALL_S = 2.0
MOST = 1 << 16  # runs of a call, unless the courier takes fewer


class Delivery:
    """From a backlog to a courier.

    Args:
        on_written: called with the number of runs that wait no longer.

    Attributes:
        begun: whether the store has been made ready.
        moved: when it last took something, by ``time.monotonic``.
        error: what it refused the first run with that it refused.
    """

    def __init__(self, courier: Courier, backlog: Backlog, outage: Outage, on_written: Callable[[int], None]) -> None:
        self._courier, self._backlog, self._outage, self._on_written = courier, backlog, outage, on_written
        self.begun, self.moved = False, 0.0
        self.error: BaseException | None = None
        self._untidy = False
        self._refused = self._failed = 0
        self._most = MOST

    @property
    def work(self) -> bool:
        """Whether there is anything to do."""
        return not self.begun or self._untidy or len(self._backlog) > 0

    @property
    def given_up(self) -> bool:
        """Whether the store refuses whatever it is given."""
        return self._refused >= REFUSED

    def attempt(self) -> bool:
        """Writes what is next; False if the store is away."""
        return self._tried(self._advance) or (self._failed > STEP_OVER and self.begun and self._tried(self._step_over))

    def _tried(self, step: Callable[[], bool]) -> bool:
        """What a step says; False if the store is away."""
        from pipeline.tracking.faults import is_transient

        try:
            return step()
        except Exception as error:
            if not is_transient(error):
                raise
            self._outage.note(error)
            self._failed += 1
            return False

    def _advance(self) -> bool:
        if not self.begun:
            self._courier.begin()
            self.begun = True
        if entries := self._backlog.first(min(self._courier.at_once, self._most)):
            began = time.monotonic()
            self._write(entries)
            slow = time.monotonic() > began + CALL_S
            self._most = max(1, len(entries) // 2) if slow else min(2 * self._most, MOST)
        if self._untidy and not self._backlog:
            self._courier.tidy()
            self._untidy = False
        self._failed = 0
        self.moved = time.monotonic()
        return True

    def _step_over(self) -> bool:
        """The store may only mind the first of those that wait."""
        if second := self._backlog.first(2)[1:]:
            self._write(second)
        return bool(second)

    def _write(self, entries: Sequence[Entry]) -> None:
        from pipeline.tracking.faults import is_transient

        runs = [run for entry in entries if (run := self._loaded(entry)) is not None]
        try:
            self._courier.write(runs, any(entry.tried for entry in entries))
        except Exception as error:
            if is_transient(error):
                self._untidy = True
                for entry in entries:
                    entry.tried = True
                raise
            if len(entries) == 1:
                self._refuse(entries[0], error)
                return
            for entry in entries:  # one that can't be written must not keep the others out
                self._write([entry])
            return
        self._refused = 0
        self._remove(entries)

    def _loaded(self, entry: Entry) -> FinishedRun | None:
        found = self._backlog.load(entry)
        if found is None:
            self._outage.say(
                f"{entry.file} is damaged; the next `initlab sweep` of the study logs trial {entry.number}"
            )
        return found

    def _refuse(self, entry: Entry, error: Exception) -> None:
        self.error = self.error or error
        self._remove([entry])
        self._refused += 1
        if self._refused == REFUSED:
            raise error

    def _remove(self, entries: Sequence[Entry]) -> None:
        self._backlog.remove(entries)
        self.moved = time.monotonic()
        self._on_written(len(entries))
