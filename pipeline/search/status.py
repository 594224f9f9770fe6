"""What there is of studies, told without running them."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import optuna
from optuna.storages import BaseStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from pipeline.config import Config, file_of
from pipeline.errors import UsageError
from pipeline.search.storage import DAMAGED, journal_dir, open_storage, study_name

__all__ = ["StudyStatus", "studies", "trial_counter"]

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
    given = config.search.storage
    if given is not None:
        file = file_of(given)
        if file is not None and not file.is_file():
            raise UsageError.of("search.storage", given, "no such file")
        return _statuses(*open_storage(config, ""))
    found: list[StudyStatus] = []
    for path in sorted(journal_dir(config).glob("*.journal")):
        try:
            found += _statuses(JournalStorage(JournalFileBackend(str(path))), str(path))
        except DAMAGED:
            found.append(StudyStatus(f"(damaged) {path.stem}", str(path), dict.fromkeys(STATES, 0), None, None))
    return found


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
