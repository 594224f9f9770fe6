"""Starts the workers that a configuration asks for, and follows them."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.config import Config, SlurmLauncher, handed_on
from pipeline.console import say
from pipeline.folders import make_writable
from pipeline.launch.follow import follow
from pipeline.launch.processes import Processes
from pipeline.launch.slurm import check_slurm, submit, submitted_before
from pipeline.launch.workers import Workers
from pipeline.names import slug
from pipeline.parts import sharing_cores
from pipeline.shift import Shift
from pipeline.tracking import store_uri

__all__ = ["check_launch", "launch"]


def check_launch(config: Config) -> None:
    """Finds out before anything is written whether the workers could be started; else ``UsageError``."""
    if isinstance(config.launcher, SlurmLauncher):
        check_slurm()


def launch(shift: Shift, overrides: Sequence[str]) -> None:
    """Has workers run a study until it has its trials.

    Args:
        overrides: those that the study was begun with.

    Raises:
        RunError: all workers ended before that.
    """
    search = shift.search
    shift.announce()
    shift.late.begin()  # so that the workers find store and run made
    search.workers.lead()
    search.workers.start()
    workers = _start(search.config, overrides, slug(search.name))
    say(workers.title)
    follow(workers, search)
    search.workers.rest()


def _start(config: Config, overrides: Sequence[str], name: str) -> Workers:
    folder = (Path(config.tracking.dir) / "workers" / name).resolve()
    make_writable(folder, "tracking.dir", config.tracking.dir)
    # What may hold a password goes through the environment: submitit and Slurm keep commands in files.
    given, variables = handed_on(config, overrides)
    if not isinstance(config.launcher, SlurmLauncher):
        own = sharing_cores(config, config.launcher.workers)  # earlier than the user's, which therefore win
        return Processes(config.launcher.workers, [*own, *given], variables, folder)
    if store_uri(config).startswith("sqlite"):
        say("note: the MLflow store is an sqlite file, which hosts should not share: see docs/cluster.md")
    return submitted_before(folder) or submit(config.launcher, given, variables, folder, f"initlab-{name}")
