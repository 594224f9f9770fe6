"""The Optuna study behind a search: opened or resumed, asked for trials, told results."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.config import Config, with_values
from pipeline.errors import RunError, UsageError
from pipeline.records import MemberRecord, TrialRecord
from pipeline.search.identity import check_identity
from pipeline.search.ledger import Ledger
from pipeline.search.points import first_points
from pipeline.search.pruning import SCORE, Pruning, standing
from pipeline.search.sampler import Suggester, grid_size
from pipeline.search.space import Axis, axes_of, settings
from pipeline.search.stops import Stop, check_stops
from pipeline.search.storage import DAMAGED, damaged, held_lock, open_storage, study_name

__all__ = ["Asked", "FinishedTrial", "Search", "planned"]

FinishedTrial = FrozenTrial
"""A trial as it is stored."""

optuna.logging.set_verbosity(optuna.logging.WARNING)

# Stands for a loss that isn't finite: a NaN would make the trial FAIL. Finite ones stay below.
DIVERGED_LOSS = 1e6
LARGEST_LOSS = 0.999e6
MODES = "execution"


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
    """One study. Its trials are numbered from 0 without gaps, whatever cut it off.

    Raises:
        UsageError: the space is wrong, or a study of this name was begun with another
            configuration or other data.
        RunError: another process is running this study, or its storage is damaged.

    Args:
        data_digest: of the data that the study is about.
    """

    def __init__(self, config: Config, data_digest: str = "") -> None:
        self.config = config
        self.name = study_name(config)
        self.axes = axes_of(config)
        if not self.axes:
            raise UsageError.of("search.space", config.search.space, "holds no axis that could change anything")
        check_stops(config)
        self._suggester = Suggester(config, self.axes, first_points(config, self.axes))
        self._lock = held_lock(config, self.name)
        self.storage, self.store = open_storage(config, self.name)
        self._id = self._open()
        check_identity(self.storage, self._id, config, data_digest)
        self._recover()
        trials = self.storage.get_all_trials(self._id, deepcopy=False)
        self._ledger = Ledger(trials, self._minimize, config.search.batch, config.search.history)
        self._ids = [trial._trial_id for trial in trials]
        self.pruning = Pruning(config, self._ledger, self._minimize)
        self._running: set[int] = set()
        self._waiting = sorted((t.number for t in trials if t.state == TrialState.WAITING), reverse=True)

    @property
    def _minimize(self) -> bool:
        return self.config.search.objective == "val/loss"

    def _open(self) -> int:
        direction = StudyDirection.MINIMIZE if self._minimize else StudyDirection.MAXIMIZE
        try:
            names = {study.study_name: study._study_id for study in self.storage.get_all_studies()}
            if self.name in names:
                return names[self.name]
            return self.storage.create_new_study([direction], self.name)
        except DAMAGED:
            raise damaged(self.store) from None

    def close(self) -> None:
        """Lets other processes run this study."""
        self._lock.release()

    @property
    def total(self) -> int:
        """How many trials the study is to have."""
        return planned(self.config, self.axes)

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
        return bool(self._waiting) or (left and self._ledger.ready)

    def ask(self, count: int = 1) -> list[Asked]:
        """The next trials: ``count``, or as many of them as can be asked for already."""
        asked: list[Asked] = []
        while len(asked) < count and self.ready():
            number = self._resume(self._waiting.pop()) if self._waiting else self._new()
            self._running.add(number)
            asked.append(self.again(self._ledger[number]))
        return asked

    def _resume(self, number: int) -> int:
        self.storage.set_trial_state_values(self._ids[number], TrialState.RUNNING)
        return number

    def _new(self) -> int:
        number = len(self._ledger)
        drawn = self._suggester.suggest(number, self._ledger.seen())
        params = {axis.key: drawn[axis.key] for axis in self.axes}
        values = {axis.key: axis.decode(params[axis.key]) for axis in self.axes}
        template = create_trial(
            state=TrialState.RUNNING,
            params=params,
            distributions=self._suggester.distributions,
            user_attrs={"values": values},
        )
        # One write, so that no trial is ever stored without its values.
        self._ids.append(self.storage.create_new_trial(self._id, template))
        trial = self.storage.get_trial(self._ids[number])
        if trial.number != number:
            raise RunError(f"the study {self.name!r} is being run by another process; wait for it, or stop it")
        self._ledger.put(trial)
        return number

    def again(self, trial: FrozenTrial) -> Asked:
        """A stored trial as it was asked."""
        return Asked(trial.number, trial.user_attrs["values"], self.config_of(trial))

    def tell(self, number: int, record: TrialRecord) -> None:
        """Stores a result; a trial that was not trained is pruned."""
        self._running.remove(number)
        trial_id = self._ids[number]
        if record.diverged:
            self.storage.set_trial_user_attr(trial_id, "diverged_replicates", record.diverged)
        if record.verdict is not None:
            self.storage.set_trial_user_attr(trial_id, "verdict", record.verdict.sentence)
            if self.config.search.preflight == "prune":
                self.storage.set_trial_user_attr(trial_id, SCORE, standing(record.verdict))
        if record.pruned:
            self.storage.set_trial_user_attr(trial_id, "pruned", record.reason)
            self.storage.set_trial_state_values(trial_id, TrialState.PRUNED)
        else:
            self.storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [self.objective(record)])
        self._ledger.put(self.storage.get_trial(trial_id))

    def report(self, number: int, stop: Stop, trained: Sequence[MemberRecord]) -> None:
        """Notes how far a trial has come: the mean objective of its replicates at a stop, or that of the last one."""
        counted = trained[-1:] if self.pruning.by_replicate else trained
        curves = [member.curves[self.config.search.objective] for member in counted]
        value = self._finite(float(np.mean([curve[max(curve)] for curve in curves])))
        self.pruning.report(number, stop.step, value)
        self.storage.set_trial_intermediate_value(self._ids[number], stop.step, value)

    def objective(self, record: TrialRecord) -> float:
        """What the search optimises: the mean over replicates, finite whatever happened."""
        value = record.mean(self.config.search.objective)
        return self._finite(math.nan if record.diverged and self._minimize else value)

    def _finite(self, value: float) -> float:
        if not self._minimize:
            return value  # a network that diverged has an accuracy of 0
        return min(value, LARGEST_LOSS) if math.isfinite(value) else DIVERGED_LOSS

    def abandon(self) -> None:
        """Puts trials that were asked for and not told back, so that they are given again."""
        for number in sorted(self._running, reverse=True):
            _put_back(self.storage, self._ids[number])
            self._waiting.append(number)
        self._running.clear()
        self._waiting.sort(reverse=True)

    def config_of(self, trial: FrozenTrial) -> Config:
        """The configuration of a stored trial."""
        return with_values(self.config, settings(self.axes, trial.user_attrs["values"]))

    @property
    def modes(self) -> dict[str, str]:
        """The execution mode in which the networks of each structure are trained, as far as it was settled."""
        found: dict[str, str] = self.storage.get_study_user_attrs(self._id).get(MODES, {})
        return dict(found)

    def keep_mode(self, structure: str, mode: str) -> None:
        """Settles a mode for good."""
        self.storage.set_study_user_attr(self._id, MODES, self.modes | {structure: mode})

    def _recover(self) -> None:
        """Trials that a process left RUNNING are given again."""
        for trial in self.storage.get_all_trials(self._id, deepcopy=False, states=(TrialState.RUNNING,)):
            _put_back(self.storage, trial._trial_id)


def _put_back(storage: BaseStorage, trial_id: int) -> None:
    storage.set_trial_state_values(trial_id, TrialState.WAITING)
