"""Power losses: of what was written only what a disk holds for certain is left (``power_loss.cpp``)."""

import os
import shutil
import signal
import sqlite3
import time
import warnings
from pathlib import Path

import mlflow
import numpy as np
import pyarrow.parquet as pq
import pytest
from laboratory import assert_whole, held_by

from pipeline.tracking.store import mlflow_at

pytestmark = pytest.mark.slow

TRIALS = "search.n_trials=96"
LOSSES = int(os.environ.get("INITLAB_POWER_LOSSES", "12"))


class Power:
    """The power of the machine that a study runs on; only its folder ``mlruns`` is on the disk."""

    def __init__(self, study, library) -> None:
        self.study, self.folder, self.disk = study, study.folder / "mlruns", study.folder / "disk"
        self.disk.mkdir()
        study.variables = {
            "LD_PRELOAD": str(library("power_loss")),
            "POWER_FOLDER": str(self.folder),
            "POWER_DISK": str(self.disk),
        }

    def fail(self) -> int:
        """Ends the study at once, and leaves what the disk holds; returns how many files lost what was in them."""
        self.study.signal(signal.SIGKILL)
        self.study.end()
        time.sleep(1)  # its processes end with it
        entries = [line.split(" ", 2) for line in (self.disk / "tree").read_text().splitlines()]
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        lost = 0
        for kind, key, path in entries:
            place, held = self.folder / path, self.disk / key
            if kind == "d":
                place.mkdir()
            elif held.exists():
                shutil.copyfile(held, place)
            else:
                place.touch()
                lost += 1
        shutil.rmtree(self.disk)
        self.disk.mkdir()
        return lost


def artifact_folders(database: Path) -> list[Path]:
    """Of the trials' runs."""
    connection = sqlite3.connect(database)
    wanted = """SELECT artifact_uri FROM runs JOIN tags ON tags.run_uuid = runs.run_uuid
                WHERE key = 'initlab.trial' AND lifecycle_stage = 'active'"""
    found = [Path(uri.removeprefix("file://")) for (uri,) in connection.execute(wanted)]
    connection.close()
    return found


def test_a_study_that_the_power_fails_at_random_moments(lab, template_store, library, reference, rng):
    study = lab(TRIALS)
    (study.folder / "mlruns").mkdir()
    shutil.copy(template_store, study.folder / "mlruns" / "mlflow.db")
    power = Power(study, library)
    done, emptied = [], 0
    for _ in range(LOSSES):
        study.start()
        time.sleep(rng.uniform(3, 9))
        emptied += power.fail()
        done.append(study.finished)
    study.run()
    print(f"{LOSSES} power losses, {done} of 96 trials on the disk after each; {emptied} files lost what was in them")
    assert done == sorted(done)
    assert_whole(held_by(power.folder / "mlflow.db"), reference(TRIALS))
    folders = artifact_folders(power.folder / "mlflow.db")
    assert len(folders) == 96
    for folder in folders:
        assert all(len(pq.read_table(folder / name)) > 0 for name in ("layers.parquet", "replicates.parquet"))
    with mlflow_at(f"sqlite:///{power.folder}/mlflow.db"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of MLflow's own imports
        model = mlflow.pyfunc.load_model("models:/initlab-s/1")
    assert model.predict(np.zeros((2, 64), dtype=np.float32)).shape == (2, 10)
    assert study.command("status", "study.name=s").returncode == 0
    assert study.command("report", "study.name=s").returncode == 0
