"""A database that is locked, or can't be written: trials go on, and each is there once in the end."""

import shutil
import sqlite3
import subprocess
import time

import pytest
from laboratory import assert_whole, held_by

pytestmark = pytest.mark.slow

TRIALS = "search.n_trials=96"


@pytest.fixture
def study(lab, template_store):
    """A study under way, with trials in its database."""
    made = lab(TRIALS)
    (made.folder / "mlruns").mkdir()
    shutil.copy(template_store, made.folder / "mlruns" / "mlflow.db")
    made.start()
    made.wait_until(lambda: len(held_by(made.folder / "mlruns" / "mlflow.db").runs) >= 5)
    return made


def told(study, word):
    return [line for line in study.said.splitlines() if "the MLflow store sqlite" in line and word in line]


def test_a_locked_database(study, reference):
    database = study.folder / "mlruns" / "mlflow.db"
    other = sqlite3.connect(database, timeout=30, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    before = study.finished
    study.wait_until(lambda: len(told(study, "can't be written (database is locked)")) == 1)
    study.wait_until(lambda: len(study.kept) >= 3)
    during = study.finished - before
    other.execute("ROLLBACK")
    other.close()
    assert study.end() == 0, study.said_errors
    print(f"{during} trials were trained while the database was locked")
    assert during > 0
    assert len(told(study, "can be written again")) == 1
    assert study.said_errors == ""
    assert_whole(held_by(database), reference(TRIALS))


def test_a_database_that_became_read_only(study, reference):
    database = study.folder / "mlruns" / "mlflow.db"
    if subprocess.run(["chattr", "+i", database], capture_output=True).returncode:
        pytest.skip("files can't be made immutable here (chattr +i), which is what stops root from writing")
    try:
        study.wait_until(lambda: len(told(study, "can't be written")) == 1)
        study.wait_until(lambda: len(study.kept) >= 3)
        time.sleep(2)
    finally:
        subprocess.run(["chattr", "-i", database], check=True)
    assert study.end() == 0, study.said_errors
    print(f"{told(study, 'can')}")
    assert len(told(study, "can be written again")) == 1
    assert_whole(held_by(database), reference(TRIALS))
