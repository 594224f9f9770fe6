"""The Optuna study behind a search: opened or resumed, asked in batches, told results."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from pipeline.config import Config, config_hash, flatten, identity, with_values
from pipeline.errors import UsageError
from pipeline.names import slug
from pipeline.records import TrialRecord
from pipeline.search.sampler import LOST, grid_size, make_sampler
from pipeline.search.space import Axis, axes_of

__all__ = ["Asked", "Search", "StudyStatus", "studies", "study_name"]

optuna.logging.set_verbosity(optuna.logging.WARNING)

DIVERGED_LOSS = 1e6  # stands for a loss that isn't finite: a NaN would make the trial FAIL


@dataclass(frozen=True)
class Asked:
    """A trial to run: its number, its values, and the configuration that they make."""

    number: int
    values: dict[str, Any]
    config: Config


@dataclass(frozen=True)
class StudyStatus:
    """What ``initlab status`` says of a study."""

    name: str
    store: str
    trials: dict[str, int]
    best_value: float | None
    best_trial: int | None


def study_name(config: Config) -> str:
    """``study.name``, or the dataset and the configuration's hash: same configuration, same study."""
    return config.study.name or f"{config.dataset.name}-{config_hash(config)}"


class Search:
    """One study.

    Raises:
        UsageError: the space is wrong, or a study of this name was begun with another
            configuration.
    """

    def __init__(self, config: Config) -> None:
        self.config = config
        self.name = study_name(config)
        self.axes = axes_of(config)
        if not self.axes:
            raise UsageError.of("search.space", config.search.space, "holds no axis that could change anything")
        self.distributions = {axis.key: axis.distribution for axis in self.axes}
        first = _first_points(config, self.axes)
        self.asked: dict[int, Trial] = {}
        storage, self.store = _storage(config, self.name)
        maximize = config.search.objective == "val/accuracy"
        self.study = optuna.create_study(
            storage=storage,
            study_name=self.name,
            sampler=make_sampler(config, self.axes),
            direction="maximize" if maximize else "minimize",
            load_if_exists=True,
        )
        self._check_identity(first)
        self._recover()

    @property
    def total(self) -> int:
        """How many trials the study is to have."""
        if self.config.search.sampler == "grid":
            return min(self.config.search.n_trials, grid_size(self.config, self.axes))
        return self.config.search.n_trials

    @property
    def finished(self) -> list[FrozenTrial]:
        """Trials with a result."""
        return self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def ask(self, count: int) -> list[Asked]:
        """The next trials."""
        batch = []
        for _ in range(count):
            trial = self.study.ask(self.distributions)
            values = {axis.key: axis.decode(trial.params[axis.key]) for axis in self.axes}
            trial.set_user_attr("values", values)
            self.asked[trial.number] = trial
            batch.append(Asked(trial.number, values, with_values(self.config, values)))
        return batch

    def tell(self, number: int, record: TrialRecord) -> float:
        """Stores a result; returns the objective's value."""
        trial = self.asked.pop(number)
        if record.diverged:
            trial.set_user_attr("diverged_replicates", record.diverged)
        value = record.mean(self.config.search.objective)
        if not math.isfinite(value):
            value = DIVERGED_LOSS
        self.study.tell(trial, value)
        return value

    def abandon(self) -> None:
        """Marks trials that were asked for and not told, so that they are given again."""
        for number in list(self.asked):
            _give_again(self.study, self.asked.pop(number)._trial_id)

    @property
    def best(self) -> FrozenTrial:
        return self.study.best_trial

    def config_of(self, trial: FrozenTrial) -> Config:
        """The configuration of a stored trial."""
        return with_values(self.config, trial.user_attrs["values"])

    def _check_identity(self, first: list[dict[str, Any]]) -> None:
        stored = self.study.user_attrs.get("config")
        mine = identity(self.config)
        if stored is None:
            self.study.set_user_attr("config", json.dumps(mine))
            self.study.set_user_attr("config_hash", config_hash(self.config))
            for point in first:
                self.study.enqueue_trial(point)
            return
        theirs = json.loads(stored)
        for key in sorted({*mine, *theirs}):
            if mine.get(key) != theirs.get(key):
                allowed = f"the study {self.name!r} was begun with {theirs.get(key)}; choose another study.name"
                raise UsageError.of(key, mine.get(key), allowed)

    def _recover(self) -> None:
        """Trials that a process left RUNNING are given again with the same values."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            _give_again(self.study, trial._trial_id)


def _first_points(config: Config, axes: list[Axis]) -> list[dict[str, Any]]:
    """``search.enqueue`` in Optuna's terms, on the axes there are."""
    by_key = {axis.key: axis for axis in axes}
    points: list[dict[str, Any]] = []
    for i, point in enumerate(config.search.enqueue):
        given = {key: value for key, value in flatten(point).items() if key in by_key}
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


def _storage(config: Config, name: str) -> tuple[BaseStorage, str]:
    given = config.search.storage
    if given is not None and "://" in given:
        try:
            return RDBStorage(given), given.split("://")[0]
        except Exception as error:  # SQLAlchemy's, the driver's, or an import that fails
            reason = type(error).__name__
            scheme = given.split("://")[0]
            raise UsageError(f"search.storage={scheme}://...: can't be opened ({reason})") from None
    path = Path(given) if given is not None else _journal_dir(config) / f"{slug(name)}.journal"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path))), str(path)
    except OSError as error:
        raise UsageError.of("search.storage", path, f"can't be opened ({error.strerror})") from None
    except (json.JSONDecodeError, KeyError, UnicodeDecodeError):
        raise UsageError.of("search.storage", path, "is no Optuna journal") from None


def _journal_dir(config: Config) -> Path:
    return Path(config.tracking.dir) / "optuna"


def studies(config: Config) -> list[StudyStatus]:
    """The studies in ``search.storage``, or in all journals under ``tracking.dir``."""
    if config.search.storage is not None:
        return _statuses(*_storage(config, ""))
    found: list[StudyStatus] = []
    for path in sorted(_journal_dir(config).glob("*.journal")):
        found += _statuses(JournalStorage(JournalFileBackend(str(path))), str(path))
    return found


def _statuses(storage: BaseStorage, store: str) -> list[StudyStatus]:
    statuses = []
    for frozen in storage.get_all_studies():
        trials = storage.get_all_trials(frozen._study_id, deepcopy=False)
        done = [t for t in trials if t.state == TrialState.COMPLETE]
        best = _best(done, frozen.direction) if done else None
        counts = Counter(t.state.name for t in trials if LOST not in t.user_attrs)
        by_state = {state.name: counts.get(state.name, 0) for state in TrialState}
        statuses.append(
            StudyStatus(frozen.study_name, store, by_state, best.value if best else None, best.number if best else None)
        )
    return statuses


def _best(trials: Sequence[FrozenTrial], direction: optuna.study.StudyDirection) -> FrozenTrial:
    sign = -1 if direction == optuna.study.StudyDirection.MAXIMIZE else 1
    return min(trials, key=lambda t: sign * (t.value if t.value is not None else math.inf))
