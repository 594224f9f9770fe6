"""``initlab status`` and ``initlab repair`` on studies whose two books differ."""

import json
import shutil

import optuna
import pytest
from agreement import Agreement, agreement, journal
from conftest import SMALL, run_command, runs
from mlflow.tracking import MlflowClient
from optuna.trial import TrialState, create_trial

TOTAL = 8


@pytest.fixture
def study(small_study, tmp_path):
    shutil.copytree(small_study, tmp_path / "copy")
    return tmp_path / "copy"


def client_of(home):
    return MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")


def child(home, number: int):
    return next(run for run in runs(client_of(home), "trial") if run.data.tags["initlab.trial"] == str(number))


def test_a_whole_study_has_nothing_to_mend(study):
    told = run_command("status", cwd=study)
    assert told.stdout.splitlines()[-1] == "MLflow holds the same trials"
    mended = run_command("repair", cwd=study)
    assert (mended.returncode, mended.stdout) == (0, "study small: nothing to mend\n")


@pytest.mark.slow
def test_what_a_crash_may_leave_is_named_and_mended(study):
    client = client_of(study)
    double = child(study, 3)
    copy = client.create_run(double.info.experiment_id, tags=dict(double.data.tags), run_name=double.info.run_name)
    client.log_metric(copy.info.run_id, "search/objective", double.data.metrics["search/objective"])
    client.set_terminated(copy.info.run_id, "FINISHED")
    begun = client.create_run(double.info.experiment_id, tags=dict(child(study, 4).data.tags))
    client.delete_run(child(study, 5).info.run_id)
    storage = journal(study, "small")
    values = {"weight_init.scale": 1.0, "bias_init.value": 0.0}
    left = create_trial(state=TrialState.RUNNING, user_attrs={"values": values, "owner": "nobody"})
    storage.create_new_trial(0, left)

    (said,) = json.loads(run_command("status", "--json", cwd=study).stdout)
    assert said["trials"]["RUNNING"] == 1
    assert said["disagreement"] == [
        "1 trial without a run in MLflow: 5",
        "1 trial with two runs in MLflow: 3",
        "1 trial with a run in MLflow that nobody writes: 4",
    ]
    mended = run_command("repair", "study.name=small", cwd=study)
    assert mended.returncode == 0, mended.stderr
    assert "1 trial put back, to be given again" in mended.stdout
    assert "1 finished trial without a run, which `initlab sweep` trains again" in mended.stdout
    assert client.get_run(begun.info.run_id).info.lifecycle_stage == "deleted"

    again = run_command("sweep", *SMALL, "search.n_trials=9", cwd=study)
    assert again.returncode == 0, again.stderr
    found = agreement(journal(study, "small"), "small", f"sqlite:///{study}/mlruns/mlflow.db", TOTAL + 1)
    assert found == Agreement(0, 0, 0, 0)
    assert run_command("status", cwd=study).stdout.splitlines()[-1] == "MLflow holds the same trials"


def test_a_study_that_is_not_there_is_named(study):
    done = run_command("repair", "study.name=other", cwd=study)
    assert done.returncode == 2
    assert done.stderr == "initlab: study.name=other: no such study; `initlab status` lists them\n"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
