"""Signs of life: who counts as alive, on this host and on another."""

import optuna
import pytest
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.study import StudyDirection

from pipeline.search.journal import Journal
from pipeline.search.workers import PREFIX, SILENCE_S, Workers


@pytest.fixture(params=["journal", "memory", "sqlite"])
def storage(request, tmp_path):
    made = {
        "journal": lambda: JournalStorage(Journal(tmp_path / "x.journal")),
        "memory": InMemoryStorage,
        "sqlite": lambda: optuna.storages.get_storage(f"sqlite:///{tmp_path}/x.db"),
    }[request.param]()
    study = made.create_new_study([StudyDirection.MAXIMIZE], "x")
    return made, study


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_workers_of_one_host_see_each_other_and_a_death_at_once(storage, tmp_path):
    first, second = Workers(*storage, tmp_path).join(), Workers(*storage, tmp_path).join()
    assert first.own != second.own
    assert (first.others(), second.others()) == ({second.own}, {first.own})
    assert first.alive(first.own)
    assert first.alive(second.own)
    name = second.own
    del second  # as a process that is killed: nothing is said, the file is free
    assert first.others() == set()
    assert not first.alive(name)


def test_who_only_leads_is_alive_and_trains_nothing(storage, tmp_path):
    first, second = Workers(*storage, tmp_path).join(), Workers(*storage, tmp_path).join()
    assert first.others(training=True) == {second.own}
    second.lead()
    assert first.others() == {second.own}
    assert first.others(training=True) == set()
    second.beat()
    assert first.others(training=True) == set()


def test_who_leaves_says_so(storage, tmp_path):
    first, second = Workers(*storage, tmp_path).join(), Workers(*storage, tmp_path).join()
    second.end()
    assert first.others() == set()
    assert [path.stem for path in tmp_path.glob("*.alive")] == [first.own]
    assert not first.alive(None)


def test_one_of_another_host_is_dead_once_it_has_been_silent(storage, tmp_path):
    clock = Clock()
    first = Workers(*storage, tmp_path, clock).join()
    made, study = storage

    def sign(count: int) -> None:
        made.set_study_user_attr(study, f"{PREFIX}far", {"count": count, "host": "elsewhere", "folder": str(tmp_path)})

    sign(7)
    assert first.others() == {"far"}
    clock.now += SILENCE_S - 1
    assert first.others() == {"far"}
    sign(8)
    clock.now += SILENCE_S - 1
    assert first.others() == {"far"}  # it had changed meanwhile
    clock.now += SILENCE_S
    assert first.others() == set()
    sign(9)  # it was only slow
    assert first.others() == {"far"}


def test_who_only_looks_leaves_nothing(storage, tmp_path):
    first, looker = Workers(*storage, tmp_path).join(), Workers(*storage, tmp_path)
    assert looker.others() == {first.own}
    assert looker.alive(first.own)
    assert not looker.alive(looker.own)
    assert first.others() == set()
    assert [path.stem for path in tmp_path.glob("*.alive")] == [first.own]


def test_the_dead_are_forgotten_and_their_files_taken_away(storage, tmp_path):
    first, second = Workers(*storage, tmp_path).join(), Workers(*storage, tmp_path).join()
    third = Workers(*storage, tmp_path).join()
    name = second.own
    del second
    first.bury()
    made, study = storage
    assert made.get_study_user_attrs(study)[PREFIX + name] is None
    assert {path.stem for path in tmp_path.glob("*.alive")} == {first.own, third.own}


def test_a_name_from_the_storage_is_no_path(storage, tmp_path):
    victim = tmp_path / "victim.alive"
    victim.write_text("keep")
    folder = tmp_path / "own"
    folder.mkdir()
    first = Workers(*storage, folder).join()
    made, study = storage
    mine = made.get_study_user_attrs(study)[PREFIX + first.own]
    made.set_study_user_attr(study, f"{PREFIX}../victim", mine)
    first.bury()
    assert victim.read_text() == "keep"


def test_signs_go_on_from_a_thread(storage, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.search.workers.BEAT_S", 0.01)
    first = Workers(*storage, tmp_path).join()
    first.start()
    made, study = storage
    while made.get_study_user_attrs(study)[PREFIX + first.own]["count"] < 4:
        pass
    first.end()
    assert made.get_study_user_attrs(study)[PREFIX + first.own] is None
