"""A study read back from MLflow: what is shown is what was stored."""

from conftest import SMALL, run_command
from mlflow.tracking import MlflowClient

from pipeline.config import compose
from pipeline.tracking import read_study


def test_of_a_long_history_some_points_are_metrics_and_all_are_in_the_artifact(home):
    done = run_command("sweep", *SMALL, "search.n_trials=1", "trainer.epochs=20", "search.confirm=0", cwd=home)
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    (run,) = client.search_runs(
        [client.get_experiment_by_name("initlab").experiment_id], "tags.`initlab.kind` = 'trial'"
    )
    history = {m.step // 16: m.value for m in client.get_metric_history(run.info.run_id, "val/accuracy")}
    assert list(history) == [0, 1, 2, 5, 10, 20]  # 21 ** (i / 5), rounded, - 1
    stored = read_study(compose([*SMALL, f"tracking.dir={home}/mlruns"]), "small")
    found = stored.curve(run.info.run_id, "val/accuracy")
    curve = {step // 16: value for step, value in zip(found["step"], found["mean"], strict=True)}
    assert list(curve) == list(range(21))
    assert {epoch: curve[epoch] for epoch in history} == history
    assert run.data.metrics["best/val/accuracy"] == max(curve.values())
