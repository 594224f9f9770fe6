"""The Optuna study behind a search: opened or resumed, asked for trials, told results."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pipeline.config import Config, with_values
from pipeline.errors import UsageError
from pipeline.folders import make_writable
from pipeline.records import MemberRecord, TrialRecord, Verdict
from pipeline.search.board import OWNER, Board
from pipeline.search.identity import check_identity
from pipeline.search.ledger import Ledger
from pipeline.search.locks import Lock
from pipeline.search.objective import Objective
from pipeline.search.patience import AWAY, Patience, is_away
from pipeline.search.points import first_points
from pipeline.search.pruning import SCORE, Pruning, standing
from pipeline.search.sampler import Suggester, grid_size
from pipeline.search.space import Axis, axes_of, settings
from pipeline.search.stops import Stop, check_stops
from pipeline.search.storage import DAMAGED, damaged, lock_of, open_storage, study_name, workers_dir
from pipeline.search.workers import Workers

__all__ = ["Asked", "FinishedTrial", "Search", "planned"]

FinishedTrial = FrozenTrial
"""A trial as it is stored."""

optuna.logging.set_verbosity(optuna.logging.WARNING)

MODES, TOTAL = "execution", "n_trials"


@dataclass(frozen=True)
class Asked:
    """A trial to run: its number, its values, and the configuration that they make."""

    number: int
    values: dict[str, Any]
    config: Config


def planned(config: Config, axes: Sequence[Axis]) -> int:
    """How many trials a study is to have."""
    if config.search.sampler == "grid":
        return min(config.search.n_trials, grid_size(config, axes))
    return config.search.n_trials


class Search:
    """One study, as one of those who may work on it sees it. Its trials are numbered from 0
    without gaps, whatever cut it off and whoever shares in it.

    Raises:
        UsageError: the space is wrong, or a study of this name was begun with another
            configuration or other data.
        RunError: its storage is damaged.

    Args:
        data_digest: of the data that the study is about.
        joins: whether the number of trials is the study's, if it has been begun, and not the configuration's.
        check: called while others are waited for; what it raises ends the waiting.
        tell: shows a line to the user, when the storage goes away and when it is back.
    """

    def __init__(
        self,
        config: Config,
        data_digest: str = "",
        joins: bool = False,
        check: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.config, self._check = config, check
        self.name = study_name(config)
        self.axes = axes_of(config)
        if not self.axes:
            raise UsageError.of("search.space", config.search.space, "holds no axis that could change anything")
        check_stops(config)
        self._objective = Objective(config.search.objective)
        self._suggester = Suggester(config, self.axes, first_points(config, self.axes))
        folder = workers_dir(config)
        self.storage, self.store = open_storage(config, self.name)
        make_writable(folder, "tracking.dir", config.tracking.dir)
        self.patiently = Patience(config.tracking.patience_s, self.store, tell)
        try:
            self._begin(folder, data_digest, joins)
        except AWAY as error:
            if not is_away(error):
                raise
            raise self.patiently.too_long(error) from None

    def _begin(self, folder: Path, data_digest: str, joins: bool) -> None:
        config = self.config
        with self.lock("trials") as lock:
            self._id = self._open()
            check_identity(self.storage, self._id, config, data_digest)
            self.total = self._settled_total(joins)
            self.workers = Workers(self.storage, self._id, folder).join()
            trials = self.storage.get_all_trials(self._id, deepcopy=False)
            self._ledger = Ledger(trials, self._objective.minimize, config.search.batch, config.search.history)
            self.pruning = Pruning(config, self._ledger, self._objective.minimize)
            self.board = Board(self.storage, self._id, self._ledger, self.workers, lock, self.pruning.heard)
            self.board.sync()

    def _open(self) -> int:
        direction = StudyDirection.MINIMIZE if self._objective.minimize else StudyDirection.MAXIMIZE
        try:
            names = {study.study_name: study._study_id for study in self.storage.get_all_studies()}
            if self.name in names:
                return names[self.name]
            return self.storage.create_new_study([direction], self.name)
        except DAMAGED:
            raise damaged(self.store) from None

    def _settled_total(self, joins: bool) -> int:
        stored = self.storage.get_study_user_attrs(self._id).get(TOTAL)
        total = int(stored) if joins and stored is not None else planned(self.config, self.axes)
        if total != stored:
            self.storage.set_study_user_attr(self._id, TOTAL, total)
        return total

    def lock(self, purpose: str) -> Lock:
        """A lock that all who work on the study share."""
        return lock_of(self.config, self.storage, self.name, purpose, self._check)

    @property
    def others(self) -> set[str]:
        """Who else works on the study, as far as is known."""
        return self.board.others

    @property
    def trainers(self) -> int:
        """How many train it, this one among them."""
        return 1 + self.board.training

    def close(self) -> None:
        """Leaves the study to others."""
        with suppress(*AWAY):  # they will notice
            self.workers.end()

    @property
    def done(self) -> int:
        """How many trials have a result or were pruned."""
        return self._ledger.done

    @property
    def finished(self) -> list[FrozenTrial]:
        """Those trials, by number."""
        return self._ledger.results

    @property
    def best(self) -> FrozenTrial | None:
        """The best trial that was trained to its end, of equals the first; None if none was."""
        return self._ledger.best

    @property
    def under_way(self) -> int:
        """Trials that may be under way at once: ``search.batch``, and more in a large study."""
        return self._ledger.under_way

    def ready(self) -> bool:
        """Whether a trial can be asked for: one that was cut off, or the next if what it rests on is known.

        Trial k rests on the results of trials 0 to k - ``under_way``, and on no others.
        """
        left = len(self._ledger) - self._ledger.failed < self.total
        return (left and self._ledger.ready) or bool(self.board.waiting)

    def sync(self) -> None:
        """Takes up what other workers have done, and gives trials of the dead again."""
        self.patiently(self._synced)

    def _synced(self) -> None:
        with self.board.lock:
            self.board.sync()

    def ask(self, count: int = 1) -> list[Asked]:
        """The next trials: ``count``, or as many of them as can be asked for already."""
        numbers: list[int] = []
        while len(numbers) < count and (number := self.patiently(self._next)) is not None:
            numbers.append(number)
        return [self.again(self._ledger[number]) for number in numbers]

    def _next(self) -> int | None:
        """The number of the next trial, which is this worker's now; None if there is none to be had."""
        with self.board.lock:
            self.board.sync()
            if not self.ready():
                return None
            return self.board.resume(self.board.waiting[0]) if self.board.waiting else self._new()

    def _new(self) -> int:
        drawn = self._suggester.suggest(len(self._ledger), self._ledger.seen())
        params = {axis.key: drawn[axis.key] for axis in self.axes}
        values = {axis.key: axis.decode(params[axis.key]) for axis in self.axes}
        return self.board.add(params, self._suggester.distributions, {"values": values})

    def again(self, trial: FrozenTrial) -> Asked:
        """A stored trial as it was asked."""
        return Asked(trial.number, trial.user_attrs["values"], self.config_of(trial))

    def tell(self, number: int, record: TrialRecord) -> bool:
        """Stores a result; a trial that was not trained is pruned. Whether the trial was still this worker's."""
        attributes: dict[str, Any] = {"diverged_replicates": record.diverged} if record.diverged else {}
        if record.verdict is not None:
            attributes["verdict"] = record.verdict.sentence
        if record.pruned:
            attributes["pruned"] = record.reason
        state = TrialState.PRUNED if record.pruned else TrialState.COMPLETE
        values = None if record.pruned else [self.objective(record)]
        return self.patiently(lambda: self.board.end(number, state, values, attributes))

    def judged(self, number: int, verdict: Verdict) -> None:
        """Notes the verdict on a trial, where it decides on others."""
        self.pruning.judged(number, verdict)
        if self.config.search.preflight == "prune":
            self._note(number, lambda storage, i: storage.set_trial_user_attr(i, SCORE, standing(verdict)))

    def report(self, number: int, stop: Stop, trained: Sequence[MemberRecord]) -> None:
        """Notes how far a trial has come: the mean objective of its replicates at a stop, or that of the last one."""
        value = self._objective.so_far(trained[-1:] if self.pruning.by_replicate else trained)
        self.pruning.report(number, stop.step, value)
        self._note(number, lambda storage, i: storage.set_trial_intermediate_value(i, stop.step, value))

    def _note(self, number: int, write: Callable[[BaseStorage, int], None]) -> None:
        self.patiently(lambda: self.board.note(number, write))

    def objective(self, record: TrialRecord) -> float:
        """What the search optimises: the mean over replicates, finite whatever happened."""
        return self._objective.of(record)

    def abandon(self) -> None:
        """Puts trials that were asked for and not told back, so that they are given again."""
        with suppress(*AWAY):  # then others put them back
            self.board.put_back()

    @staticmethod
    def owner_of(trial: FrozenTrial) -> str | None:
        """The worker who has a stored trial, or had it at its end."""
        return trial.user_attrs.get(OWNER)

    def config_of(self, trial: FrozenTrial) -> Config:
        """The configuration of a stored trial."""
        return with_values(self.config, settings(self.axes, trial.user_attrs["values"]))

    @property
    def modes(self) -> dict[str, str]:
        """How the networks of each structure are trained, as far as it was settled: a mode, on a GPU with a size."""
        found: dict[str, str] = self.storage.get_study_user_attrs(self._id).get(MODES, {})
        return dict(found)

    def keep_mode(self, structure: str, mode: str) -> str:
        """Settles a mode for good, unless another worker has; returns that which holds."""
        return self.patiently(lambda: self._kept_mode(structure, mode))

    def _kept_mode(self, structure: str, mode: str) -> str:
        with self.board.lock:
            known = self.modes
            if structure not in known:
                known[structure] = mode
                self.storage.set_study_user_attr(self._id, MODES, known)
        return known[structure]
