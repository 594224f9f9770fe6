import os
import time

import pytest

from pipeline.children import cores, run_all
from pipeline.errors import RunError, UsageError
from pipeline.interrupt import install


@pytest.fixture(autouse=True)
def no_signal_noted() -> None:
    """As in a fresh process: a signal that an earlier test sent is no longer noted."""
    install()


def test_every_command_runs_and_its_end_is_told(home):
    ended = []
    run_all({f"v{i}": ["--version"] for i in range(3)}, 2, lambda name, seconds: ended.append((name, seconds > 0)))
    assert sorted(ended) == [("v0", True), ("v1", True), ("v2", True)]


def test_a_failure_is_told_in_its_own_words_and_ends_the_others(home):
    started = time.monotonic()
    slow = ["train", "trainer.epochs=1000000", "model.width=4"]
    with pytest.raises(UsageError, match=r"^bad: weight_init=foo: must be one of"):
        run_all({"slow": slow, "bad": ["train", "weight_init=foo"]}, 2)
    assert time.monotonic() - started < 60
    (home / "bad.db").write_text("this is no database" * 100)
    with pytest.raises(RunError, match=r"^bad: the MLflow store .* can't be opened"):
        run_all({"bad": ["train", f"tracking.uri=sqlite:///{home}/bad.db"]}, 1)


def test_cores_are_those_of_this_process(monkeypatch):
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    own = cores()
    assert 1 <= own <= (os.cpu_count() or 1)
    for given, expected in (("1", 1), ("900", own), ("0", own), ("", own), ("many", own)):
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", given)
        assert cores() == expected
