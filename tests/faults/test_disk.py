"""A disk that is full: real file systems in memory, filled to the last byte. And one that is slow, or stops."""

import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from laboratory import assert_whole, held_by

pytestmark = pytest.mark.slow

TRIALS = "search.n_trials=96"
FEW_TRIALS = "search.n_trials=32"


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
def with_store(lab, template_store):
    """A study of so many trials, whose store is made already."""

    def make(trials):
        made = lab(trials)
        (made.folder / "mlruns").mkdir()
        shutil.copy(template_store, made.folder / "mlruns" / "mlflow.db")
        return made

    return make


@pytest.fixture
def study(with_store):
    return with_store(TRIALS)


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
    study.wait_for_trials(8, of=96)
    full.free()
    assert study.end() == 0, study.said_errors
    assert_whole(held_by(database(study)), reference(TRIALS))


class SlowDisk:
    """Delays what a study writes below a folder, in the process itself: ``slow_disk.cpp``."""

    def __init__(self, study, library, folder: Path) -> None:
        self.pace = study.folder / "pace"
        study.variables = {
            "LD_PRELOAD": str(library("slow_disk")),
            "SLOW_FOLDER": str(folder),
            "SLOW_PACE": str(self.pace),
        }

    def set(self, pace: str) -> None:
        """``MS MS``: of a write and of a synchronisation; ``hang``; empty: as fast as it is."""
        self.pace.write_text(pace)


def lines_of(study, *words):
    return [line for line in study.said.splitlines() if all(word in line for word in words)]


def test_a_slow_disk(with_store, library, reference):
    """A write takes 2 ms and a synchronisation 100: the study takes longer, and is the same."""
    study = with_store(FEW_TRIALS)
    SlowDisk(study, library, study.folder / "mlruns").set("2 100")
    began = time.monotonic()
    study.run()
    print(f"{time.monotonic() - began:.0f} s with a disk of 100 ms a synchronisation")
    assert_whole(held_by(database(study)), reference(FEW_TRIALS))
    assert study.said_errors == ""
    assert len(lines_of(study, "can't be written")) <= 1
    assert study.command("status", "study.name=s").returncode == 0


@pytest.mark.parametrize("place", ["the store", "everything"])
def test_a_disk_that_stops_for_half_a_minute(study, library, reference, place):
    """If only the store's does, trials go on; if that of Optuna's journal does, they wait. Either is told once."""
    folder = study.folder / "mlruns"
    slow = SlowDisk(study, library, folder / "mlflow.db" if place == "the store" else folder)
    study.start()
    study.wait_until(lambda: study.finished >= 8)
    slow.set("hang")
    time.sleep(30)
    if place == "the store":
        assert study.finished == 96
        assert len(study.kept) > 32
    slow.set("")
    assert study.end() == 0, study.said_errors
    assert_whole(held_by(database(study)), reference(TRIALS))
    assert len(lines_of(study, "the MLflow store", "for 15 s")) == 1
    assert len(lines_of(study, "the MLflow store", "can be written again")) == 1
    assert len(lines_of(study, "search.storage", "no answer for 15 s")) == (place == "everything")
    assert len(lines_of(study, "search.storage", ": back")) == (place == "everything")
    assert study.command("status", "study.name=s").returncode == 0


def test_a_study_on_a_slow_disk_that_is_killed(study, library, reference, rng):
    """Between two halves of a write, as like as not."""
    slow = SlowDisk(study, library, study.folder / "mlruns")
    slow.set("2 100")
    for _ in range(5):
        study.start()
        time.sleep(rng.uniform(4, 14))
        study.signal(signal.SIGKILL)
        study.end()
    slow.set("")
    study.run()
    assert_whole(held_by(database(study)), reference(TRIALS))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_a_study_on_a_slow_disk(study, library, reference, number, code):
    """It takes a third of a second to keep a run, so that those which wait can't all be kept in time."""
    slow = SlowDisk(study, library, study.folder / "mlruns")
    study.start()
    study.wait_until(lambda: study.finished >= 8)
    slow.set("2 100")
    time.sleep(4)
    study.signal(number)
    began = time.monotonic()
    assert study.end() == code, study.said_errors
    took = time.monotonic() - began
    print(f"{took:.1f} s; {lines_of(study, 'kept')}")
    assert took < 10
    slow.set("")
    study.run()
    assert_whole(held_by(database(study)), reference(TRIALS))
