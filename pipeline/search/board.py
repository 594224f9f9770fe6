"""The trials of a study in its storage, where all who work on it take them from and put results.

What a worker does in several steps it does under the study's lock. A trial that runs has an
owner; one whose owner has died is given again. Who was taken for dead and wasn't finds his
trials with another owner, and what he then tells is dropped: it would be the same.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.search.ledger import Ledger
from pipeline.search.locks import Lock
from pipeline.search.workers import Workers

__all__ = ["OWNER", "Board"]

OWNER = "owner"
"""The attribute of a stored trial that names the worker who has it, or had it at its end."""

# Between two looks at whether the others are alive.
LOOK_S = 1.0


class Board:
    """Trials by number, numbered from 0 without gaps.

    Args:
        study: Optuna's id of it.
        on_news: called with each trial of another worker that has changed.

    Attributes:
        mine: numbers of the trials that this worker has.
        others: who else is at work, as far as is known. training: how many of them train.
    """

    def __init__(
        self,
        storage: BaseStorage,
        study: int,
        ledger: Ledger,
        workers: Workers,
        lock: Lock,
        on_news: Callable[[FrozenTrial], None],
    ) -> None:
        self.ledger, self.workers, self.lock = ledger, workers, lock
        self.mine: set[int] = set()
        self.others: set[str] = set()
        self.training = 0
        self._storage, self._study, self._on_news = storage, study, on_news
        self._ids = [trial._trial_id for trial in ledger.trials]
        self._looked = -LOOK_S

    @property
    def waiting(self) -> list[int]:
        """Numbers of the trials that were cut off and are to be given again."""
        return [n for n in self.ledger.open if self.ledger[n].state == TrialState.WAITING]

    def sync(self) -> None:
        """Takes up what others have done. Under the lock."""
        for trial in self._news():
            if trial.number == len(self._ids):
                self._ids.append(trial._trial_id)
            self.ledger.put(trial)
            self._on_news(trial)
        self._free_the_dead()

    def _news(self) -> Iterable[FrozenTrial]:
        foreign = [number for number in self.ledger.open if number not in self.mine]
        if not isinstance(self._storage, JournalStorage):
            trials = self._storage.get_all_trials(self._study, deepcopy=False)
            yield from [trials[number] for number in foreign]
            yield from trials[len(self.ledger) :]
            return
        for number in foreign:
            yield self._storage.get_trial(self._ids[number])
        while (found := self._next()) is not None:
            yield self._storage.get_trial(found)

    def _next(self) -> int | None:
        """Optuna's id of the first trial that isn't known here."""
        try:
            return self._storage.get_trial_id_from_study_id_trial_number(self._study, len(self.ledger))
        except KeyError:
            return None

    def _free_the_dead(self) -> None:
        """Puts back what was left running by workers who have died."""
        if time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        self.others, self.training = self.workers.others(), len(self.workers.others(training=True))
        running = [n for n in self.ledger.open if n not in self.mine and self.ledger[n].state == TrialState.RUNNING]
        for number in running:
            if self.ledger[number].user_attrs.get(OWNER) not in self.others:
                self._set(number, TrialState.WAITING)
        self.workers.bury()

    def _set(self, number: int, state: TrialState, values: Sequence[float] | None = None) -> None:
        self._storage.set_trial_state_values(self._ids[number], state, values)
        self.ledger.put(self._storage.get_trial(self._ids[number]))

    def resume(self, number: int) -> int:
        """Takes a trial that waits. Under the lock."""
        self._storage.set_trial_user_attr(self._ids[number], OWNER, self.workers.own)
        self._set(number, TrialState.RUNNING)
        self.mine.add(number)
        return number

    def add(self, params: Mapping[str, Any], distributions: Mapping[str, Any], attributes: Mapping[str, Any]) -> int:
        """Makes the next trial, in one write, so that none is ever stored without its values. Under the lock."""
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(params),
            distributions=dict(distributions),
            user_attrs={**attributes, OWNER: self.workers.own},
        )
        trial = self._storage.get_trial(self._storage.create_new_trial(self._study, template))
        self._ids.append(trial._trial_id)
        self.ledger.put(trial)
        self.mine.add(trial.number)
        return trial.number

    def note(self, number: int, write: Callable[[BaseStorage, int], None]) -> None:
        """Writes something of a trial under way; drops it if another has ended the trial meanwhile."""
        try:
            write(self._storage, self._ids[number])
        except UpdateFinishedTrialError:
            return

    def end(
        self, number: int, state: TrialState, values: Sequence[float] | None, attributes: Mapping[str, Any]
    ) -> bool:
        """Stores a result, if the trial is still this worker's; whether it was."""
        with self.lock:
            trial = self._storage.get_trial(self._ids[number])
            own = trial.user_attrs.get(OWNER) == self.workers.own
            if own and trial.state == TrialState.RUNNING:
                for key, value in attributes.items():
                    self._storage.set_trial_user_attr(self._ids[number], key, value)
                self._set(number, state, values)
            elif own and trial.state == state:  # the storage went away after it had stored this
                self.ledger.put(trial)
            self.mine.discard(number)
            return own and trial.state in (TrialState.RUNNING, state)

    def put_back(self) -> None:
        """Gives all that this worker has back, for any to take."""
        with self.lock.closing():
            mine, self.mine = self.mine, set()
            for number in mine:
                if self._owned(number):
                    self._set(number, TrialState.WAITING)

    def _owned(self, number: int) -> bool:
        trial = self._storage.get_trial(self._ids[number])
        return trial.state == TrialState.RUNNING and trial.user_attrs.get(OWNER) == self.workers.own
