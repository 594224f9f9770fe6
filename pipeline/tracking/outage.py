"""What the user is told while a store is away, and calls that wait for it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from pipeline.config import Config, masked
from pipeline.errors import RunError
from pipeline.interrupt import check as check_signals
from pipeline.tracking.place import store_uri
from pipeline.waiting import POLL_S, pause, pauses

__all__ = ["Outage", "asking_again", "briefly", "kept_in", "watched"]

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"

Result = TypeVar("Result")


class Outage:
    """Says once that the store is away and once that it is back, whoever finds it out.

    Args:
        tell: shows a line to the user, from any thread.

    Attributes:
        patience_s: how long a call that can't be put off waits for the store.
        reason: why the last call failed; empty while the store works.
    """

    def __init__(self, config: Config, tell: Callable[[str], None] = lambda _: None) -> None:
        uri = store_uri(config)
        server = uri.startswith("http")
        self.what = f"the tracking server at {masked(uri)}" if server else f"the MLflow store {masked(uri)}"
        self.fails = "does not answer" if server else "can't be written"
        self.works = "answers again" if server else "can be written again"
        self.patience_s = config.tracking.patience_s
        self.reason = ""
        self._tell, self._told, self._lock = tell, False, threading.Lock()

    @property
    def sentence(self) -> str:
        """``the tracking server at http://... does not answer (connection refused)``."""
        return f"{self.what} {self.fails} ({self.reason})"

    def say(self, line: str) -> None:
        """Tells the user something else."""
        self._tell(line)

    def note(self, error: BaseException) -> None:
        """A call has failed; most often the next one passes, so that nothing is said yet."""
        from pipeline.tracking.faults import reason_of  # MLflow takes seconds to import

        self.reason = reason_of(error)

    def silent(self, seconds: float) -> None:
        """A call has been under way for so long."""
        self.reason = self.reason or f"nothing written for {seconds:g} s"

    def away(self, consequence: str) -> None:
        """It still fails; said the first time."""
        with self._lock:
            if not self._told:
                self._tell(f"{self.sentence}; {consequence}")
            self._told = True

    def back(self, delivered: str) -> None:
        """It works again; said if it was said that it doesn't."""
        with self._lock:
            self.reason = ""
            if self._told:
                self._tell(f"{self.what} {self.works}{delivered}")
            self._told = False

    def patiently(self, call: Callable[[], Result], patience_s: float | None = None) -> Result:
        """What a call gives, which is repeated while the store is away. It must bear to be repeated.

        Args:
            patience_s: how long; None: ``tracking.patience_s``.

        Raises:
            RunError: the store was away for longer than that.
        """
        from pipeline.tracking.faults import is_transient

        patience_s = self.patience_s if patience_s is None else patience_s
        began = time.monotonic()
        for attempt, seconds in enumerate(pauses()):
            try:
                found = call()
            except Exception as error:
                if not is_transient(error):
                    raise
                self.note(error)
                if time.monotonic() + seconds > began + patience_s:
                    raise RunError(f"{self.sentence}, for {patience_s:g} s (tracking.patience_s)") from None
            else:
                if attempt:
                    self.back("")
                return found
            if attempt:
                self.away(f"waiting for it up to {patience_s:g} s")
            pause(seconds)
        raise AssertionError  # there is always another pause


def watched(call: Callable[[], Result]) -> Result:
    """What a call gives that may hang; a signal ends the waiting for it, at once."""
    found: list[Result] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(call())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="tracking-watched", daemon=True)
    thread.start()
    while thread.is_alive():
        check_signals()
        thread.join(POLL_S)
    if failed:
        raise failed[0]
    return found[0]


@contextmanager
def asking_again(times: int = 2) -> Iterator[None]:
    """Within it, MLflow sends a request again that fails: for much reading, while nothing is written."""
    before = os.environ[RETRIES]
    os.environ[RETRIES] = str(times)
    try:
        yield
    finally:
        os.environ[RETRIES] = before


def briefly(call: Callable[[], object], seconds: float) -> bool:
    """Makes a call that may fail or hang, and waits no longer than that; returns whether it was done."""
    done = threading.Event()

    def run() -> None:
        with suppress(Exception):
            call()
            done.set()

    thread = threading.Thread(target=run, name="tracking-briefly", daemon=True)
    thread.start()
    thread.join(seconds)
    return done.is_set()


def kept_in(folder: Path) -> str:
    """What becomes of runs meanwhile."""
    return f"runs are kept in {folder} and delivered when it is back"
