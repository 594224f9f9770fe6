"""The Optuna study behind a search: opened or resumed, asked in batches, told results."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.config import Config, config_hash, flatten, identity, plain, with_values
from pipeline.config.convert import suggestion
from pipeline.errors import UsageError
from pipeline.records import TrialRecord
from pipeline.search.sampler import LOST, grid_size, make_sampler
from pipeline.search.space import Axis, axes_of, settings
from pipeline.search.storage import DAMAGED, damaged, held_lock, open_storage, study_name

__all__ = ["Asked", "Search", "planned"]

optuna.logging.set_verbosity(optuna.logging.WARNING)

# Stands for a loss that isn't finite: a NaN would make the trial FAIL. Finite ones stay below.
DIVERGED_LOSS = 1e6
LARGEST_LOSS = 0.999e6


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
    """One study.

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
        self.distributions = {axis.key: axis.distribution for axis in self.axes}
        first = _first_points(config, self.axes)
        self.asked: dict[int, Trial] = {}
        self._lock = held_lock(config, self.name)
        self.study, self.store = self._open()
        self._check_identity(first, data_digest)
        self._recover()

    def _open(self) -> tuple[optuna.Study, str]:
        storage, store = open_storage(self.config, self.name)
        maximize = self.config.search.objective == "val/accuracy"
        try:
            study = optuna.create_study(
                storage=storage,
                study_name=self.name,
                sampler=make_sampler(self.config, self.axes),
                direction="maximize" if maximize else "minimize",
                load_if_exists=True,
            )
        except DAMAGED:
            raise damaged(store) from None
        return study, store

    def close(self) -> None:
        """Lets other processes run this study."""
        self._lock.release()

    @property
    def total(self) -> int:
        """How many trials the study is to have."""
        return planned(self.config, self.axes)

    @property
    def finished(self) -> list[FrozenTrial]:
        """Trials with a result, and those that were pruned before they were trained."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))

    def ask(self, count: int) -> list[Asked]:
        """The next trials."""
        batch = []
        for _ in range(count):
            trial = self.study.ask(self.distributions)
            values = {axis.key: axis.decode(trial.params[axis.key]) for axis in self.axes}
            trial.set_user_attr("values", values)
            self.asked[trial.number] = trial
            batch.append(Asked(trial.number, values, with_values(self.config, settings(self.axes, values))))
        return batch

    def again(self, trial: FrozenTrial) -> Asked:
        """A stored trial as it was asked."""
        return Asked(trial.number, trial.user_attrs["values"], self.config_of(trial))

    def tell(self, number: int, record: TrialRecord) -> None:
        """Stores a result; a trial that was not trained is pruned."""
        trial = self.asked.pop(number)
        if record.diverged:
            trial.set_user_attr("diverged_replicates", record.diverged)
        if record.verdict is not None:
            trial.set_user_attr("verdict", record.verdict.sentence)
        if not record.members:
            self.study.tell(trial, state=TrialState.PRUNED)
            return
        self.study.tell(trial, self.objective(record))

    def objective(self, record: TrialRecord) -> float:
        """What the search optimises: the mean over replicates, finite whatever happened."""
        value = record.mean(self.config.search.objective)
        if self.config.search.objective == "val/accuracy":
            return value  # a network that diverged has 0
        return min(value, LARGEST_LOSS) if math.isfinite(value) and not record.diverged else DIVERGED_LOSS

    def abandon(self) -> None:
        """Marks trials that were asked for and not told, so that they are given again."""
        for number in list(self.asked):
            _give_again(self.study, self.asked.pop(number)._trial_id)

    @property
    def best(self) -> FrozenTrial | None:
        """The best trial; None if none was trained."""
        trained = any(trial.state == TrialState.COMPLETE for trial in self.finished)
        return self.study.best_trial if trained else None

    def config_of(self, trial: FrozenTrial) -> Config:
        """The configuration of a stored trial."""
        return with_values(self.config, settings(self.axes, trial.user_attrs["values"]))

    def _check_identity(self, first: list[dict[str, Any]], digest: str) -> None:
        stored = self.study.user_attrs.get("config")
        mine = identity(self.config)
        if stored is None:
            self.study.set_user_attr("config", json.dumps(mine))
            self.study.set_user_attr("config_hash", config_hash(self.config))
            self.study.set_user_attr("data_digest", digest)
            for point in first:
                self.study.enqueue_trial(point)
            return
        theirs = json.loads(stored)
        for key in sorted({*mine, *theirs}):
            if mine.get(key) != theirs.get(key):
                allowed = f"the study {self.name!r} was begun with {theirs.get(key)}; choose another study.name"
                raise UsageError.of(key, mine.get(key), allowed)
        if self.study.user_attrs.get("data_digest") != digest:
            key = "dataset.path" if self.config.dataset.path else "dataset"
            given = self.config.dataset.path or self.config.dataset.name
            allowed = f"the data have changed since the study {self.name!r} was begun; choose another study.name"
            raise UsageError.of(key, given, allowed)

    def _recover(self) -> None:
        """Trials that a process left RUNNING are given again with the same values."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            _give_again(self.study, trial._trial_id)


def _first_points(config: Config, axes: list[Axis]) -> list[dict[str, Any]]:
    """``search.enqueue`` in Optuna's terms, on the axes there are."""
    by_key = {axis.key: axis for axis in axes}
    known = flatten(plain(config))
    points: list[dict[str, Any]] = []
    for i, point in enumerate(config.search.enqueue):
        given = flatten(point)
        for key in given:
            if key not in known:
                raise UsageError.of(f"search.enqueue[{i}].{key}", given[key], f"unknown key{suggestion(key, known)}")
        given = {key: value for key, value in given.items() if key in by_key}
        for key, value in given.items():
            if not by_key[key].contains(value):
                raise UsageError.of(f"search.enqueue[{i}].{key}", value, "must lie on its axis in search.space")
        encoded = {key: by_key[key].encode(value) for key, value in given.items()}
        if encoded and encoded not in points:
            points.append(encoded)
    # A grid holds its own points and visits each once.
    return points if config.search.sampler != "grid" else []


def _give_again(study: optuna.Study, trial_id: int) -> None:
    frozen = study._storage.get_trial(trial_id)
    study._storage.set_trial_user_attr(trial_id, LOST, True)
    if frozen.params:
        study.enqueue_trial(frozen.params)
    study.tell(frozen.number, state=TrialState.FAIL)
