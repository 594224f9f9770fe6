"""Waiting for what is away: longer from time to time, and no longer than until a signal comes."""

import threading
import time
from collections.abc import Callable, Iterator

from pipeline.interrupt import check

__all__ = ["FIRST_PAUSE_S", "POLL_S", "SILENCE_S", "Watch", "pause", "pauses"]

POLL_S = 0.1
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
# Seconds after which a call that neither returns nor fails is worth a word,
SILENCE_S = 15.0
# and those between two looks at it.
LOOK_S = 0.5


def pauses() -> Iterator[float]:
    """Seconds between attempts: twice as long each time, up to a limit."""
    seconds = FIRST_PAUSE_S
    while True:
        yield seconds
        seconds = min(2 * seconds, LONGEST_PAUSE_S)


def pause(seconds: float) -> None:
    """Sleeps; a signal that was noted is raised at once."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        check()
        time.sleep(min(POLL_S, left))


class Watch:
    """Calls ``look`` now and then, from a thread: whoever waits for a disk that has stopped can't do so itself."""

    def __init__(self, look: Callable[[], None]) -> None:
        self._look, self._stop = look, threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def _run(self) -> None:
        while not self._stop.wait(LOOK_S):
            self._look()

    def start(self) -> None:
        self._thread.start()

    def end(self, seconds: float | None = None) -> None:
        """Waits for it, unless it takes longer than so many seconds."""
        self._stop.set()
        self._thread.join(seconds)

    def __enter__(self) -> "Watch":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
