"""Starts the workers that a configuration asks for, and follows them."""

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline.config import Config, SlurmLauncher, masked
from pipeline.console import say
from pipeline.errors import UsageError
from pipeline.folders import make_writable
from pipeline.launch.follow import follow
from pipeline.launch.processes import Processes
from pipeline.launch.slurm import check_slurm, submit, submitted_before
from pipeline.launch.workers import Workers
from pipeline.names import slug
from pipeline.shift import Shift
from pipeline.tracking import store_uri

__all__ = ["check_launch", "launch"]

PASSWORD = re.compile(r"://[^/@]*:[^/@]+@|[?&][^=&]*(password|passwd|pwd|token|secret)[^=&]*=", re.IGNORECASE)


def check_launch(config: Config, overrides: Sequence[str]) -> None:
    """Finds out before anything is written whether the workers could be started.

    Raises:
        UsageError: Slurm's jobs need what is not installed, or would be given a password to keep in files.
    """
    if not isinstance(config.launcher, SlurmLauncher):
        return
    check_slurm()
    for override in overrides:
        key, _, given = override.partition("=")
        if PASSWORD.search(given):
            allowed = "holds a password, which would stand in the job's files: give it as docs/cluster.md says"
            raise UsageError.of(key, masked(given), allowed)


def launch(shift: Shift, overrides: Sequence[str]) -> None:
    """Has workers run a study until it has its trials.

    Args:
        overrides: those that the study was begun with.

    Raises:
        RunError: all workers ended before that.
    """
    search = shift.search
    shift.announce()
    shift.begin()  # so that the workers find store and run made
    search.workers.start()
    workers = _start(search.config, overrides, slug(search.name))
    say(workers.title)
    follow(workers, search)


def _start(config: Config, overrides: Sequence[str], name: str) -> Workers:
    folder = (Path(config.tracking.dir) / "workers" / name).resolve()
    make_writable(folder, "tracking.dir", config.tracking.dir)
    if not isinstance(config.launcher, SlurmLauncher):
        return Processes(config.launcher.workers, overrides, folder)
    if store_uri(config).startswith("sqlite"):
        say("note: the MLflow store is an sqlite file, which hosts should not share: see docs/cluster.md")
    return submitted_before(folder) or submit(config.launcher, overrides, folder, f"initlab-{name}")
