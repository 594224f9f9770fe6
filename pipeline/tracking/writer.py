"""Writes beside the training: one thread, in order, nothing dropped."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

__all__ = ["Writer"]

# Trials that may wait to be written before training waits for the writer.
PENDING = 64


class Writer:
    """Runs calls one after the other on a thread of its own.

    An error is raised at the next ``submit`` or on leaving the context; on any way out,
    what was submitted is written first.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tracking")
        self._pending: deque[Future[Any]] = deque()

    def submit(self, call: Callable[..., Any], *args: Any) -> None:
        """Queues ``call(*args)``; waits while ``PENDING`` calls are queued."""
        while self._pending and (self._pending[0].done() or len(self._pending) >= PENDING):
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(call, *args))

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True)
        if kind is None:
            for future in self._pending:
                future.result()
