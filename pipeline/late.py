"""A study's runs in MLflow, which is imported when they are first written: networks train meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from pipeline import tracking
from pipeline.data import Dataset
from pipeline.names import counted
from pipeline.search import Search
from pipeline.tracking import Outage, Spool, TrialRun, Writer, briefly, spool_dir

__all__ = ["Late"]

# Seconds that a study which fails or is stopped leaves the store to note it, and one that is away.
CLOSE_S, CLOSE_AWAY_S = 2.0, 0.5


class Late:
    """A study's tracker, made when it is first used, and the ``Courier`` of its writer.

    Args:
        command: what the user typed, without passwords.
        tell: shows a line to the user, from any thread.
    """

    def __init__(self, search: Search, data: Dataset, command: str, tell: Callable[[str], None]) -> None:
        self._search, self._data, self._command, self._tell = search, data, command, tell
        self.owner = search.workers.own
        self._spool = Spool(spool_dir(search.config, search.name) / self.owner)
        self.outage = Outage(search.config, tell)

    @cached_property
    def tracker(self) -> tracking.StudyTracker:
        axes = [axis.key for axis in self._search.axes]
        search, alive = self._search, self._search.workers.alive
        return tracking.StudyTracker(
            search.config, search.name, axes, self._data, self.owner, self.outage, alive, self._command
        )

    def writer(self) -> Writer:
        """Writes the trials' runs beside the training."""
        return Writer(self, self._spool, self.outage)

    def resume(self) -> tuple[int, ...]:
        """Takes up a study that has trials, and mends what a crash has left of its runs.

        Returns:
            The finished trials that MLflow lacks, and whose runs wait nowhere.
        """
        self.tracker.patiently(self.begin)
        search = self._search
        mended = tracking.mend(
            search.config, search.name, lambda: _outcomes(search), self.outage, search.workers.alive, self.owner
        )
        if mended.delivered:
            self._tell(f"{counted(mended.delivered, 'run')} that had waited on disk: delivered")
        for path in mended.refused:
            self._tell(f"{path} waits on: the store takes other runs, and not this one")
        for path in mended.damaged:
            self._tell(f"{path} holds no run that can be read; it is left there")
        return mended.missing

    def close(self, status: str) -> None:
        """Closes the study's own run if it was begun, without waiting long for the store."""
        if "tracker" in vars(self) and self.tracker.parent:
            away = bool(self._spool.files())  # the writer would not have left any
            briefly(lambda: self.tracker.close(status), CLOSE_AWAY_S if away else CLOSE_S)

    @property
    def at_once(self) -> int:
        return self.tracker.at_once

    def begin(self) -> None:
        """Makes the study's run, or takes it up again."""
        with self._search.lock("run"):
            self.tracker.begin()

    def prepare(self, trial: TrialRun) -> tracking.FinishedRun:
        return self.tracker.prepare(trial)

    def write(self, runs: Sequence[tracking.FinishedRun], again: bool) -> None:
        self.tracker.write(runs, again)

    def tidy(self) -> None:
        self.tracker.tidy()


def _outcomes(search: Search) -> dict[int, tracking.Outcome]:
    """What the search holds of its finished trials, by now."""
    search.sync()
    return {
        trial.number: tracking.Outcome(trial.state.name == "PRUNED", trial.value if trial.values else None)
        for trial in search.finished
    }
