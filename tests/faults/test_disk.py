"""A disk that is full: real file systems in memory, filled to the last byte."""

import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from laboratory import assert_whole, held_by

pytestmark = pytest.mark.slow

TRIALS = "search.n_trials=96"


class Disk:
    """A file system of some MB of its own, mounted at a folder."""

    def __init__(self, folder: Path, megabytes: int) -> None:
        self.folder, self.ballast = folder, folder / "ballast"
        folder.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")

    def fill(self) -> None:
        with self.ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 12))

    def free(self) -> None:
        self.ballast.unlink()

    def close(self) -> None:
        subprocess.run(["umount", "-l", self.folder], check=True)


@pytest.fixture
def disk(tmp_path):
    made = []

    def make(folder: Path, megabytes: int = 64) -> Disk:
        made.append(Disk(folder, megabytes))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def study(lab, template_store):
    made = lab(TRIALS)
    (made.folder / "mlruns").mkdir()
    shutil.copy(template_store, made.folder / "mlruns" / "mlflow.db")
    return made


def database(study):
    return study.folder / "mlruns" / "mlflow.db"


def artifacts(study):
    """Names and contents of the files of each trial's run."""
    found = {}
    for folder in (study.folder / "mlruns" / "artifacts").glob("*/artifacts"):
        found[folder.parent.name] = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    return found


def test_artifacts_onto_a_full_disk(study, disk, reference):
    full = disk(study.folder / "mlruns" / "artifacts")
    study.start()
    study.wait_until(lambda: len(held_by(database(study)).runs) >= 5)
    full.fill()
    study.wait_until(lambda: "no space left on device" in study.said)
    study.wait_until(lambda: len(study.kept) >= 3)
    full.free()
    assert study.end() == 0, study.said_errors
    found = held_by(database(study))
    assert_whole(found, reference(TRIALS))
    trials = [files for files in artifacts(study).values() if "layers.parquet" in files]
    assert len(trials) == 96  # and none of an attempt that failed
    assert all(files["layers.parquet"] > 0 and files["replicates.parquet"] > 0 for files in trials)


def test_neither_the_store_nor_the_spool_has_room(study, disk, reference):
    """What waits is held in memory."""
    full, spool = disk(study.folder / "mlruns" / "artifacts"), disk(study.folder / "mlruns" / "spool", 1)
    study.start()
    study.wait_until(lambda: len(held_by(database(study)).runs) >= 5)
    spool.fill()
    full.fill()
    study.wait_until(lambda: "are held in memory" in study.said)
    before = study.finished
    study.wait_until(lambda: study.finished >= before + 8)
    full.free()
    assert study.end() == 0, study.said_errors
    assert_whole(held_by(database(study)), reference(TRIALS))
