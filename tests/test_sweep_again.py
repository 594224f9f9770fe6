"""A study that is given again, asked for more, stopped by a signal or killed."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import SMALL, run_command, runs
from mlflow.tracking import MlflowClient

from pipeline.config import compose
from pipeline.loading import load_dataset
from pipeline.search import Search, studies


def test_the_same_study_again_trains_nothing_and_says_so(small_study, tmp_path):
    home = copy_of(small_study, tmp_path)
    again = run_command("sweep", *SMALL, cwd=home)
    assert again.returncode == 0, again.stderr
    first, *rest = again.stdout.splitlines()
    assert first == "study small: all 8 trials are there already, nothing to train"
    assert not any("confirming" in line for line in rest)
    assert rest[-1] == "mlruns/reports/small/report.html"
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    assert len(runs(client, "trial")) == 8
    assert [r.info.status for r in runs(client, "study")] == ["FINISHED"]


def test_a_longer_study_goes_on_from_the_shorter(small_study, tmp_path):
    home = copy_of(small_study, tmp_path)
    done = run_command("sweep", *SMALL, "search.n_trials=10", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "8 done already" in done.stdout
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    assert len(runs(client, "trial")) == 10


def copy_of(study: Path, into: Path) -> Path:
    """A study to go on with. Artifact paths in the store still name the original's folder."""
    shutil.copytree(study, into / "copy")
    return into / "copy"


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_closes_everything_and_the_study_goes_on(home, number, code):
    arguments = [*SMALL, "trainer.epochs=30", "search.n_trials=24", "search=random", "model.width=64"]
    command = [sys.executable, "-m", "pipeline", "sweep", *arguments]
    process = subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for_trials(home, 4)
    process.send_signal(number)
    started = time.monotonic()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert time.monotonic() - started < 10
    assert errors.count("\n") == 1
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    assert [r.info.status for r in runs(client, "study")] == ["KILLED"]
    before = {r.info.run_id for r in runs(client, "trial")}
    done = run_command("sweep", *arguments, cwd=home)
    assert done.returncode == 0, done.stderr
    after = runs(client, "trial")
    assert before <= {r.info.run_id for r in after}
    assert len(after) == 24
    assert {r.info.status for r in after} == {"FINISHED"}
    assert [r.info.status for r in runs(client, "study")] == ["FINISHED"]


@pytest.mark.slow
def test_after_a_kill_mlflow_catches_up_with_optuna(home):
    arguments = [*SMALL, "search.n_trials=24", "search=random", "search.batch=4"]
    command = [sys.executable, "-m", "pipeline", "sweep", *arguments]
    process = subprocess.Popen(command, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_trials(home, 2)
    process.kill()
    process.wait()
    done = run_command("sweep", *arguments, cwd=home)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    config = compose([*arguments, f"tracking.dir={home}/mlruns"])
    (status,) = studies(config)
    assert status.trials["COMPLETE"] == 24
    assert status.trials["RUNNING"] == 0
    finished = [r for r in runs(client, "trial") if r.info.status == "FINISHED"]
    assert len(finished) == len({r.data.tags["initlab.trial"] for r in finished}) == 24
    values = {t.number: t.value for t in Search(config, load_dataset(config).digest).finished}
    assert {int(r.data.tags["initlab.trial"]): r.data.metrics["search/objective"] for r in finished} == values


def test_a_store_that_was_deleted_is_filled_again(small_study, template_store, tmp_path):
    home = copy_of(small_study, tmp_path)
    before = runs(MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db"), "trial")
    shutil.copy(template_store, home / "mlruns" / "mlflow.db")
    done = run_command("sweep", *SMALL, cwd=home)
    assert done.returncode == 0, done.stderr
    assert "8 finished trials are not in MLflow; training them again to log them" in done.stdout
    after = runs(MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db"), "trial")
    metrics = [{r.data.tags["initlab.trial"]: r.data.metrics for r in found} for found in (before, after)]
    assert metrics[0] == metrics[1]


@pytest.mark.slow
@pytest.mark.parametrize("delay", [2.0, 3.0, 3.6, 4.2, 5.0])
def test_a_signal_at_any_early_moment_ends_it(tmp_path, delay):
    command = [sys.executable, "-m", "pipeline", "sweep", *SMALL, "search.n_trials=400", "trainer.epochs=20"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    time.sleep(delay)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=15)
    assert process.returncode == 143, errors
    assert errors == "initlab: terminated\n"


def test_a_reader_who_leaves_does_not_stop_the_study(small_study, tmp_path):
    home = copy_of(small_study, tmp_path)
    (home / "mlruns/reports/small/report.html").unlink()
    command = [sys.executable, "-m", "pipeline", "sweep", *SMALL]
    process = subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.wait(60) == 0, process.stderr.read()
    process.stderr.close()
    assert (home / "mlruns/reports/small/report.html").exists()


def wait_for_trials(home: Path, count: int) -> None:
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    for _ in range(600):
        if client.get_experiment_by_name("initlab") and len(runs(client, "trial")) >= count:
            return
        time.sleep(0.1)
    pytest.fail("no trial was logged within a minute")
