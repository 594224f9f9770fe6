"""Waiting for what is away: longer from time to time, and no longer than until a signal comes."""

import time
from collections.abc import Iterator

from pipeline.interrupt import check

__all__ = ["FIRST_PAUSE_S", "POLL_S", "pause", "pauses"]

POLL_S = 0.1
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0


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
