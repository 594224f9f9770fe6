"""``search.preflight``: what the verdict does in a study, and what it leaves in MLflow and Optuna."""

import shutil

import pytest
from conftest import QUICK, run_command
from mlflow.tracking import MlflowClient

from pipeline.config import compose
from pipeline.search import studies

PRUNE = [*QUICK, "study.name=judged", "search=random", "search.preflight=prune", "search.confirm=2"]
PRUNE += ["search.min_verdict=0"]  # the hopeless alone
DEEP = ["model.depth=6", "search.enqueue=[{weight_init.scale: 0.0, bias_init.value: 0.0}]"]


@pytest.fixture(scope="module")
def pruned_study(tmp_path_factory, template_store):
    folder = tmp_path_factory.mktemp("pruned")
    (folder / "mlruns").mkdir()
    shutil.copy(template_store, folder / "mlruns" / "mlflow.db")
    done = run_command("sweep", *PRUNE, *DEEP, "search.n_trials=12", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout.txt").write_text(done.stdout)
    return folder


def children(folder, kind="trial"):
    client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("initlab").experiment_id
    return client.search_runs([experiment], f"tags.`initlab.kind` = '{kind}'")


def test_hopeless_trials_are_not_trained(pruned_study):
    (status,) = studies(compose([f"tracking.dir={pruned_study}/mlruns"]))
    assert status.trials["PRUNED"] > 0
    assert status.trials["COMPLETE"] > 0
    assert status.trials["PRUNED"] + status.trials["COMPLETE"] == 12
    runs = children(pruned_study)
    pruned = [r for r in runs if r.data.tags.get("initlab.pruned") == "true"]
    assert len(runs) == 12
    assert len(pruned) == status.trials["PRUNED"]
    for run in pruned:
        assert run.info.status == "KILLED"
        assert set(run.data.metrics) == {"verdict/score"}
        assert run.data.metrics["verdict/score"] < 0.1
    for run in runs:
        assert run.data.tags["initlab.verdict"]
        assert (run.info.status == "FINISHED") == (run not in pruned)


def test_the_reason_stands_on_the_trial_and_on_the_terminal(pruned_study):
    config = compose([*PRUNE, *DEEP, "search.n_trials=12", f"tracking.dir={pruned_study}/mlruns"])
    from optuna import load_study
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(f"{config.tracking.dir}/optuna/judged.journal"))
    trials = load_study(study_name="judged", storage=storage).trials
    assert all(trial.user_attrs["verdict"] for trial in trials)
    assert trials[0].state.name == "PRUNED"
    assert trials[0].user_attrs["verdict"] == "dead: no weight gets a gradient"
    text = (pruned_study / "stdout.txt").read_text()
    assert "trials were pruned:" in text
    assert "dead: no weight gets a gradient" in text


def test_a_judged_study_again_trains_nothing(pruned_study, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(pruned_study, folder)
    done = run_command("sweep", *PRUNE, *DEEP, "search.n_trials=12", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "all 12 trials are there already, nothing to train" in done.stdout
    assert len(children(folder)) == 12


def test_a_study_of_hopeless_trials_says_so(home):
    done = run_command(
        "sweep", *PRUNE, "weight_init=zeros", "bias_init=constant", "model.depth=3", "search.n_trials=3", cwd=home
    )
    assert done.returncode == 0, done.stderr
    assert "3 trials were pruned:" in done.stdout
    assert (home / "mlruns" / "reports" / "judged" / "report.html").is_file()


def test_by_default_the_verdict_is_only_logged(small_study):
    runs = children(small_study)
    assert all(run.info.status == "FINISHED" for run in runs)
    assert all(0 <= run.data.metrics["verdict/score"] <= 1 for run in runs)
    by_trial = {int(run.data.tags["initlab.trial"]): run.data.tags["initlab.verdict"] for run in runs}
    assert by_trial[0] == "dead: no weight gets a gradient"
    assert by_trial[1] == "healthy"
