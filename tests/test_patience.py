"""Waiting for a storage that is away, on errors as real storages raise them."""

import errno
import os
import signal
import sqlite3
import time

import optuna
import pytest
from optuna.study import StudyDirection

from pipeline.errors import RunError
from pipeline.interrupt import deferred
from pipeline.search.patience import Patience, is_away
from pipeline.waiting import Watch


@pytest.fixture
def patience():
    said = []
    made = Patience(5.0, "postgresql", said.append)
    return made, said


def test_a_database_that_is_locked_is_waited_for_and_both_ends_are_told(patience, tmp_path):
    wait, said = patience
    uri = f"sqlite:///{tmp_path}/x.db"
    storage = optuna.storages.RDBStorage(uri, engine_kwargs={"connect_args": {"timeout": 0}})
    holder = sqlite3.connect(tmp_path / "x.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    calls = []

    def call() -> int:
        calls.append(1)
        if len(calls) == 3:
            holder.rollback()
        return storage.create_new_study([StudyDirection.MAXIMIZE], "x")

    assert wait(call) == storage.get_study_id_from_name("x")
    assert len(calls) == 3
    first, last = said
    assert first.startswith("search.storage=postgresql: away (")
    assert last == "search.storage=postgresql: back"
    holder.close()


def test_of_a_call_that_hangs_the_user_hears(patience, monkeypatch):
    monkeypatch.setattr("pipeline.search.patience.SILENCE_S", 0.2)
    wait, said = patience

    def slow() -> int:
        with Watch(wait.look):
            deadline = time.monotonic() + 20
            while not said and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(1.0)  # and no second time
        return 3

    assert wait(slow) == 3
    assert said == [
        "search.storage=postgresql: no answer for 0.2 s; it is away or busy; what is ready waits for it",
        "search.storage=postgresql: back",
    ]
    wait.look()
    assert len(said) == 2


def test_waiting_has_an_end():
    said = []
    wait = Patience(0.3, "x.journal", said.append)

    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunError, match=r"x\.journal: away \(No space left on device\); the same command goes on"):
        wait(full)
    assert len(said) == 1


def test_what_waiting_can_not_mend_is_raised_at_once(patience):
    wait, said = patience
    for error in (
        ValueError("x"),
        PermissionError(errno.EACCES, "denied"),
        optuna.exceptions.UpdateFinishedTrialError(),
    ):

        def call(error=error) -> None:
            raise error

        with pytest.raises(type(error)):
            wait(call)
    assert said == []


def test_a_signal_ends_the_waiting(monkeypatch):
    monkeypatch.setattr("pipeline.interrupt._noted", [])

    def away() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        raise OSError(errno.EROFS, "Read-only file system")

    with pytest.raises(KeyboardInterrupt), deferred():
        Patience(60.0, "x", lambda _: None)(away)


def test_a_mistake_in_a_statement_is_no_outage(tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/x.db")
    storage.create_new_study([StudyDirection.MAXIMIZE], "x")
    with pytest.raises(optuna.exceptions.DuplicatedStudyError) as caught:
        storage.create_new_study([StudyDirection.MAXIMIZE], "x")
    assert not is_away(caught.value)
