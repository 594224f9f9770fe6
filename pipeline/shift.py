"""What a worker does for a study: trains trials until the study has them all, and has them tracked."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from pipeline import tracking
from pipeline.config import Config, masked_override
from pipeline.console import Failures, note, progress, say, say_notes
from pipeline.data import Dataset
from pipeline.flow import Flow, Modes, train_again
from pipeline.interrupt import check as check_signals
from pipeline.interrupt import deferred
from pipeline.late import Late
from pipeline.parts import workers_of
from pipeline.pool import Pool
from pipeline.provenance import command_line
from pipeline.records import TrialRecord
from pipeline.runner import Job, check
from pipeline.search import Asked, Search, check_search, ends_of, inert_axes
from pipeline.tracking import TrialRun, check_store
from pipeline.waiting import Watch

__all__ = ["Shift", "check_study", "on_shift"]

# Between two looks at whether other workers have written all that they trained.
PAUSE_S = 0.5


def check_study(config: Config, data: Dataset) -> None:
    """Finds out before the first trial whether the study can be begun and
    every end of every axis trained; else ``UsageError``."""
    check(config, data)
    check_search(config)
    seen = {Job(config, 0).structure}
    for end in ends_of(config):
        if (structure := Job(end, 0).structure) not in seen:
            check(end, data)
            seen.add(structure)


@contextmanager
def on_shift(config: Config, data: Dataset, verb: str, overrides: Sequence[str]) -> Iterator[Shift]:
    """A worker's time at a study, once all that could be wrong with it has been looked at.

    However it ends, trials that were begun are put back and the study's run is closed, unless others go on with it.

    Args:
        verb, overrides: the command. A worker takes the number of trials from the study, if that has been begun.
    """
    check_study(config, data)
    check_store(config)
    for key, scheme in inert_axes(config).items():
        say(f"{key} has no effect with {scheme}: left out of the search")
    search = Search(config, data.digest, verb == "worker", check_signals, note)
    shift = Shift(search, data, command_line(verb, *map(masked_override, overrides)))
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
    """A worker at a study."""

    def __init__(self, search: Search, data: Dataset, command: str) -> None:
        self.search, self.data = search, data
        self.late = Late(search, data, command, note)
        self.modes = Modes(search)
        self.failures = Failures(note)
        self._open = True

    @property
    def tracker(self) -> tracking.StudyTracker:
        """Writes the study's runs; waits for a store that is away."""
        return self.late.tracker

    def end(self) -> None:
        """Closes the study's run: the study is done."""
        self.tracker.end("FINISHED")
        self._open = False

    def leave(self, status: str) -> None:
        """Closes the study's run, if it is open and nobody else is at work on it."""
        if self._open and not self.search.workers.others():
            self.late.close(status)

    def run(self) -> None:
        """Runs the trials; MLflow is written beside them."""
        search = self.search
        if search.done < search.total:
            self.announce()
        else:
            say(f"study {search.name}: all {search.total} trials are there already, nothing to train")
        with self._pool() as pool:
            search.workers.start()
            if search.done:
                self.catch_up()  # else the writer begins it: making a fresh store takes seconds
            with (
                self.late.writer() as writer,
                Watch(search.patiently.look),
                progress(search.total, search.done, "trials") as bar,
            ):

                def on_told(asked: Asked, record: TrialRecord, started: float) -> None:
                    writer.submit(self._tracked(asked, record, started))
                    if (best := search.best) is not None:
                        bar.best(f"best {best.value:.4f}")
                    say_notes(bar.say)
                    self.failures.tell(record)

                Flow(search, self.modes, pool, on_told, bar.update).run()
        search.workers.rest()  # what draws the report is forked, beside no thread

    def announce(self) -> None:
        """Says what is to be done."""
        search, data = self.search, self.data
        axes = " and ".join(axis.key for axis in search.axes)
        say(
            f"study {search.name}: {search.total} trials x {search.config.search.replicates} replicates over {axes}"
            + (f", {search.done} done already" if search.done else "")
            + (f", {search.trainers - 1} at work on it besides" if search.trainers > 1 else ""),
            f"{data.name}: {len(data.y_train)} training, {len(data.y_val)} validation, {len(data.y_test)} test rows",
        )

    def _pool(self) -> Pool:
        """Before anything else has a thread, which a process could not be forked beside."""
        search = self.search
        workers = workers_of(search.config)
        usual = Job(search.config, search.config.seed)
        forked = search.done < search.total and workers > 1 and self.modes.of(usual).mode == "native"
        return Pool(workers, forked, search.config.device)

    def catch_up(self) -> list[int]:
        """Mends what a crash has left in MLflow; finished trials that it lacks are trained again, to the same numbers.

        Returns:
            Those that others who are at work have yet to write.
        """
        with self.search.lock("tracking"):
            others = self.search.workers.others()  # before MLflow is read: who leaves meanwhile has written all
            numbers = self.late.resume()
            missing = [trial for trial in self.search.finished if trial.number in numbers]
            theirs = [trial.number for trial in missing if self.search.owner_of(trial) in others]
            again = [trial for trial in missing if trial.number not in theirs]
            if again:
                say(f"{len(again)} finished trials are not in MLflow; training them again to log them")
            for trial in again:
                started = time.time()
                record = train_again(self.search, trial, self.modes)
                run = self._tracked(self.search.again(trial), record, started)
                self.tracker.patiently(partial(self.tracker.log, [run]))
                check_signals()
        return theirs

    def wait_for_others(self) -> None:
        """Until MLflow holds all trials of the study."""
        own = self.search.workers.own
        if all(self.search.owner_of(trial) == own for trial in self.search.finished):
            return
        while self.catch_up():
            check_signals()
            time.sleep(PAUSE_S)

    def _tracked(self, asked: Asked, record: TrialRecord, started: float) -> TrialRun:
        objective = None if record.pruned else self.search.objective(record)
        return TrialRun(asked.number, asked.config, asked.values, record, objective, started)
