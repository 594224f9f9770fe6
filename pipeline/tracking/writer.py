"""Writes beside the training: one thread, in order, nothing dropped."""

import threading
from collections.abc import Callable, Sequence
from queue import Queue
from types import TracebackType
from typing import Generic, TypeVar

__all__ = ["Writer"]

# Trials that may wait to be written before training waits for the writer.
PENDING = 64

Item = TypeVar("Item")


class Writer(Generic[Item]):
    """Hands what is submitted to ``write`` on a thread of its own: all that waits, at once.

    An error is raised at the next ``submit`` or on leaving the context; on any way out,
    what was submitted is written first.

    Args:
        begin: called on the thread, before anything is written.
    """

    def __init__(self, write: Callable[[Sequence[Item]], None], begin: Callable[[], None]) -> None:
        self._write, self._begin = write, begin
        self._queue: Queue[Item | None] = Queue(PENDING)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="tracking")

    def submit(self, item: Item) -> None:
        """Queues an item; waits while ``PENDING`` of them are queued."""
        self._raise()
        self._queue.put(item)

    def __enter__(self) -> "Writer[Item]":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._queue.put(None)
        self._thread.join()
        if kind is None:
            self._raise()

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        works = self._try(self._begin)
        while (items := self._waiting()) is not None:
            works = works and self._written(items)

    def _written(self, items: Sequence[Item]) -> bool:
        """Whether the store takes anything: one item that can't be written must not keep the others out."""
        if self._try(self._write, items):
            return True
        failed = 0
        for item in items:
            failed = 0 if self._try(self._write, [item]) else failed + 1
            if failed == 2:
                return False
        return True

    def _waiting(self) -> list[Item] | None:
        """All that is queued, at least one; None once there is nothing more to come."""
        first = self._queue.get()
        items: list[Item] = []
        while first is not None:
            items.append(first)
            if self._queue.empty() or len(items) == PENDING:
                return items
            first = self._queue.get()
        if items:
            self._queue.put(None)  # for the next call
        return items or None

    def _try(self, call: Callable[..., None], *args: object) -> bool:
        try:
            call(*args)
        except BaseException as error:
            self._error = self._error or error
            return False
        return True
