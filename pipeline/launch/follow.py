"""Follows a study that others run, to its end."""

import signal
import time
from collections.abc import Callable

from pipeline.console import progress
from pipeline.errors import RunError
from pipeline.interrupt import check
from pipeline.launch.workers import Workers

__all__ = ["follow"]

POLL_S = 0.5


def follow(workers: Workers, done: Callable[[], int], total: int) -> None:
    """Until the study has all its trials and the workers, which still write them to MLflow, have ended.

    Whatever ends this earlier ends the workers too.

    Args:
        done: tells how many trials have a result.

    Raises:
        RunError: all workers have ended, and trials are left.
    """
    try:
        found = _follow(workers, done, total)
    except BaseException as error:
        workers.stop(signal.SIGINT if isinstance(error, KeyboardInterrupt) else signal.SIGTERM)
        raise
    if found < total:
        left = f"{total - found} of {total} trials are left, and no worker"
        raise RunError(f"{left}; give the command again to go on")


def _follow(workers: Workers, done: Callable[[], int], total: int) -> int:
    with progress(total, found := done(), "trials") as bar:
        while (census := workers.count()).left:
            check()
            found = done()
            bar.update(found)
            bar.best(f", {census.running} workers" + (f", {census.waiting} waiting" if census.waiting else ""))
            for line in workers.news():
                bar.say(line)
            if found >= total:
                workers.dismiss()
            time.sleep(POLL_S)
        for line in workers.news():
            bar.say(line)
    return done()
