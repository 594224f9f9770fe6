"""Follows a study that workers run, to its end."""

import signal
import time

from pipeline.console import progress
from pipeline.errors import RunError
from pipeline.interrupt import check
from pipeline.launch.workers import Census, Workers
from pipeline.search import Search

__all__ = ["follow"]

POLL_S = 0.5


def follow(workers: Workers, search: Search) -> None:
    """Until the study has all its trials and the workers, which still write them to MLflow, have ended.

    Whatever ends this earlier ends the workers too.

    Raises:
        RunError: all workers have ended, and trials are left.
    """
    try:
        _follow(workers, search)
    except BaseException as error:
        workers.stop(signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
        raise
    if (left := search.total - search.done) > 0:
        raise RunError(f"{left} of {search.total} trials are left, and no worker; give the command again to go on")


def _follow(workers: Workers, search: Search) -> None:
    with progress(search.total, search.done, "trials") as bar:
        while (census := workers.count()).left:
            check()
            search.sync()
            bar.best(_state(search, census))
            bar.update(search.done)
            for line in workers.news():
                bar.say(line)
            if search.done >= search.total:
                workers.dismiss()
            time.sleep(POLL_S)
        for line in workers.news():
            bar.say(line)
    search.sync()


def _state(search: Search, census: Census) -> str:
    best = f"best {search.best.value:.4f}, " if search.best is not None else ""
    waiting = f", {census.waiting} waiting" if census.waiting else ""
    return f"{best}{census.running} workers{waiting}"
