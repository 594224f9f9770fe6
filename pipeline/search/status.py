"""What there is of studies, told without running them."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import FrozenTrial, TrialState

from pipeline.config import Config, file_of
from pipeline.errors import UsageError
from pipeline.search.board import OWNER
from pipeline.search.journal import Journal
from pipeline.search.storage import DAMAGED, journal_dir, lock_of, open_storage, study_name, workers_dir
from pipeline.search.workers import Workers

__all__ = ["StudyStatus", "ended_trials", "living", "put_back_lost", "studies", "trial_counter"]

STATES = tuple(state.name for state in TrialState)


@dataclass(frozen=True)
class StudyStatus:
    """What ``initlab status`` says of a study."""

    name: str
    store: str
    trials: dict[str, int]
    best_value: float | None
    best_trial: int | None


def studies(config: Config) -> list[StudyStatus]:
    """The studies in ``search.storage``, or in all journals under ``tracking.dir``."""
    found: list[StudyStatus] = []
    for storage, store in _storages(config):
        found += _statuses(storage, store) if isinstance(storage, BaseStorage) else [_damaged(storage)]
    return found


def _storages(config: Config) -> Iterator[tuple[BaseStorage | Path, str]]:
    """Each with what it is called; a damaged journal as its path."""
    given = config.search.storage
    if given is not None:
        file = file_of(given)
        if file is not None and not file.is_file():
            raise UsageError.of("search.storage", given, "no such file")
        yield open_storage(config, "")
        return
    for path in sorted(journal_dir(config).glob("*.journal")):
        try:
            yield JournalStorage(Journal(path)), str(path)
        except DAMAGED:
            yield path, str(path)


def _damaged(path: Path) -> StudyStatus:
    return StudyStatus(f"(damaged) {path.stem}", str(path), dict.fromkeys(STATES, 0), None, None)


def ended_trials(config: Config, study: str) -> Callable[[], dict[int, tuple[bool, float | None]]]:
    """A function that tells of each trial that has ended, by number, whether it was pruned, and its value."""
    storage, number = next(_places(config, study))

    def tell() -> dict[int, tuple[bool, float | None]]:
        trials = storage.get_all_trials(number, deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        return {t.number: (t.state == TrialState.PRUNED, t.value if t.values else None) for t in trials}

    return tell


def put_back_lost(config: Config, study: str) -> int:
    """Has the trials given again that workers who have died left running; how many there were."""
    lost = 0
    for storage, number in _places(config, study):
        with lock_of(config, storage, study, "trials"):
            workers = Workers(storage, number, workers_dir(config))
            living = workers.others()
            for trial in storage.get_all_trials(number, deepcopy=False, states=(TrialState.RUNNING,)):
                if trial.user_attrs.get(OWNER) not in living:
                    lost += storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
            workers.bury()
    return lost


def living(config: Config, study: str) -> Callable[[str], bool]:
    """A function that says of a worker at a study, by name, whether it lives; in doubt it does."""
    return Workers(*next(_places(config, study)), workers_dir(config)).alive


def _places(config: Config, study: str) -> Iterator[tuple[BaseStorage, int]]:
    """The storages that hold a study, with its id there."""
    for storage, _ in _storages(config):
        if isinstance(storage, BaseStorage):
            ids = [s._study_id for s in storage.get_all_studies() if s.study_name == study]
            yield from ((storage, number) for number in ids)


def trial_counter(config: Config) -> Callable[[], int]:
    """A function that tells how many trials of a study have a result, whoever runs it."""
    name = study_name(config)
    storage, _ = open_storage(config, name)

    def count() -> int:
        ids = [study._study_id for study in storage.get_all_studies() if study.study_name == name]
        return sum(storage.get_n_trials(i, TrialState.COMPLETE) for i in ids)

    return count


def _statuses(storage: BaseStorage, store: str) -> list[StudyStatus]:
    statuses = []
    for frozen in storage.get_all_studies():
        trials = storage.get_all_trials(frozen._study_id, deepcopy=False)
        done = [t for t in trials if t.state == TrialState.COMPLETE]
        best = _best(done, frozen.direction) if done else None
        counts = Counter(t.state.name for t in trials)
        by_state = {state: counts.get(state, 0) for state in STATES}
        statuses.append(
            StudyStatus(frozen.study_name, store, by_state, best.value if best else None, best.number if best else None)
        )
    return statuses


def _best(trials: Sequence[FrozenTrial], direction: optuna.study.StudyDirection) -> FrozenTrial:
    sign = -1 if direction == optuna.study.StudyDirection.MAXIMIZE else 1
    return min(trials, key=lambda t: sign * (t.value if t.value is not None else math.inf))
