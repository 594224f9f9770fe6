"""What a worker does for a study: trains trials until the study has them all, and has them tracked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

from pipeline import tracking
from pipeline.config import Config
from pipeline.console import progress, say
from pipeline.data import Dataset
from pipeline.flow import Flow, Modes, train_again
from pipeline.interrupt import check as check_signals
from pipeline.interrupt import deferred
from pipeline.modes import notes
from pipeline.parts import workers_of
from pipeline.pool import Pool
from pipeline.records import TrialRecord
from pipeline.runner import Job, check
from pipeline.search import Asked, FinishedTrial, Search, check_search, ends_of, inert_axes
from pipeline.stack import one_thread
from pipeline.tracking import TrialRun, Writer, check_store

__all__ = ["Shift", "check_study", "on_shift"]

# Between two looks at whether other workers have written all that they trained.
PAUSE_S = 0.5


def check_study(config: Config, data: Dataset) -> None:
    """Finds out before the first trial whether the study can be begun and every end of every axis
    trained; else ``UsageError``."""
    check(config, data)
    check_search(config)
    seen = {Job(config, 0).structure}
    for end in ends_of(config):
        if (structure := Job(end, 0).structure) not in seen:
            check(end, data)
            seen.add(structure)


@contextmanager
def on_shift(config: Config, data: Dataset, joins: bool) -> Iterator[Shift]:
    """A worker's time at a study, once all that could be wrong with it has been looked at.

    However it ends, trials that were begun are put back and the study's run is closed, unless others go on with it.

    Args:
        joins: whether the number of trials is the study's, if it has been begun, and not the configuration's.
    """
    check_study(config, data)
    check_store(config)
    for key, scheme in inert_axes(config).items():
        say(f"{key} has no effect with {scheme}: left out of the search")
    search = Search(config, data.digest, joins, check_signals)
    shift = Shift(search, data)
    with deferred():
        try:
            yield shift
            shift.leave("FINISHED")
        except BaseException as error:
            search.abandon()
            shift.leave("FAILED" if isinstance(error, Exception) else "KILLED")
            raise
        finally:
            search.close()


class Shift:
    """A worker at a study.

    Attributes:
        tracker: made when it is first used: networks train while MLflow is imported.
    """

    def __init__(self, search: Search, data: Dataset) -> None:
        self.search, self.data = search, data
        self.modes = Modes(search)
        self._open = True

    @cached_property
    def tracker(self) -> tracking.StudyTracker:
        axes = [axis.key for axis in self.search.axes]
        return tracking.StudyTracker(self.search.config, self.search.name, axes, self.data)

    def begin(self) -> None:
        """Makes the study's run, or takes it up again."""
        with self.search.lock("run"):
            self.tracker.begin(alone=not self.search.others)

    def end(self) -> None:
        """Closes the study's run: the study is done."""
        self.tracker.end("FINISHED")
        self._open = False

    def leave(self, status: str) -> None:
        """Closes the study's run, if it is open and nobody else is at work on it."""
        if self._open and "tracker" in vars(self) and self.tracker.parent and not self.search.workers.others():
            self.tracker.end(status)

    def run(self) -> None:
        """Runs the trials; MLflow is written beside them."""
        search = self.search
        if search.done < search.total:
            self._announce()
        else:
            say(f"study {search.name}: all {search.total} trials are there already, nothing to train")
        with one_thread(), self._pool() as pool:
            search.workers.start()
            if search.done:
                self.begin()  # else the writer does: making a fresh store takes seconds
                self.catch_up()
            with Writer(self._log, self.begin) as writer, progress(search.total, search.done, "trials") as bar:

                def on_told(asked: Asked, record: TrialRecord, started: float) -> None:
                    writer.submit(self._tracked(asked, record, started))
                    if (best := search.best) is not None:
                        bar.best(f"best {best.value:.4f}")
                    _say_notes(bar.say)

                Flow(search, self.modes, pool, on_told, bar.update).run()
        search.workers.rest()  # what draws the report is forked, beside no thread

    def _log(self, trials: Sequence[TrialRun]) -> None:
        self.tracker.log(trials)

    def _announce(self) -> None:
        search, data = self.search, self.data
        axes = " and ".join(axis.key for axis in search.axes)
        say(
            f"study {search.name}: {search.total} trials x {search.config.search.replicates} replicates over {axes}"
            + (f", {search.done} done already" if search.done else "")
            + (f", {len(search.others)} at work on it besides" if search.others else ""),
            f"{data.name}: {len(data.y_train)} training, {len(data.y_val)} validation, {len(data.y_test)} test rows",
        )

    def _pool(self) -> Pool:
        """Before anything else has a thread, which a process could not be forked beside."""
        search = self.search
        workers = workers_of(search.config)
        usual = Job(search.config, search.config.seed)
        return Pool(workers, search.done < search.total and workers > 1 and self.modes.of(usual).mode == "native")

    def catch_up(self) -> None:
        """Finished trials that a crash kept from MLflow are trained again: to the same numbers."""
        with self.search.lock("tracking"):
            missing = self._missing()
            if missing:
                say(f"{len(missing)} finished trials are not in MLflow; training them again to log them")
            for trial in missing:
                started = time.time()
                again = train_again(self.search, trial, self.modes)
                self.tracker.log([self._tracked(self.search.again(trial), again, started)])
                check_signals()

    def _missing(self) -> list[FinishedTrial]:
        """Trials that are not in MLflow and that nobody who is alive will write."""
        others = self.search.workers.others()
        logged = self.tracker.logged()
        mine = [trial for trial in self.search.finished if trial.number not in logged]
        return [trial for trial in mine if trial.user_attrs.get("owner") not in others]

    def wait_for_others(self) -> None:
        """Until MLflow holds all trials of the study."""
        own = self.search.workers.own
        if all(trial.user_attrs.get("owner") == own for trial in self.search.finished):
            return
        while {trial.number for trial in self.search.finished} - self.tracker.logged():
            self.catch_up()
            check_signals()
            time.sleep(PAUSE_S)

    def _tracked(self, asked: Asked, record: TrialRecord, started: float) -> TrialRun:
        objective = None if record.pruned else self.search.objective(record)
        return TrialRun(asked.number, asked.config, asked.values, record, objective, started)


def _say_notes(speak: Callable[[str], None] = say) -> None:
    """What the engine found worth a line, once."""
    while notes:
        speak(f"note: {notes.pop(0)}")
