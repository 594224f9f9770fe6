"""``initlab answers`` from the command to what it leaves behind."""

import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from conftest import run_command
from mlflow.tracking import MlflowClient

from pipeline.children import cores

STUDY = ["trainer.epochs=2", "search.replicates=2", "model.width=8", "search.space.model.depth.choices=[1]"]
ANSWERS = ["answers", "report.questions=[q1,q2]", "report.answers=out", "dataset=wine", "trainer.batch_size=32", *STUDY]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_reach_the_children(home, number, code):
    command = [sys.executable, "-m", "pipeline", *ANSWERS, "trainer.epochs=3000"]
    process = subprocess.Popen(command, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    workers = home / "mlruns" / "optuna" / "workers"
    for _ in range(600):
        if len(list(workers.glob("*.alive"))) == 2:
            break
        time.sleep(0.1)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert errors.count("\n") == 1
    assert not list(workers.glob("*.alive"))  # no child is left at work


@pytest.mark.slow
def test_answers_from_the_command_to_the_pages(home):
    done = run_command(*ANSWERS, cwd=home)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert f"2 of 2 studies to run, 36 networks, {min(cores(), 2)} processes at once" in done.stdout
    written = done.stdout.splitlines()[-4:]
    assert written[:2] == ["mlruns/reports/answers/answers.html", "out/answers.md"]
    assert all((home / path).is_file() for path in written)
    text = (home / "out/answers.md").read_text()
    for name in ("q1", "q2"):
        assert f"](answers/{name}.png)" in text
        assert (home / "out/answers" / f"{name}.png").is_file()

    client = MlflowClient(f"sqlite:///{home}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("initlab").experiment_id
    (parent,) = client.search_runs([experiment], "tags.`initlab.question` = 'q2'")
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert len(children) == 9
    for child in children:  # the page's numbers are those of the store
        table = pd.read_parquet(client.download_artifacts(child.info.run_id, "replicates.parquet"))
        accuracy = table[table.metric == "test/accuracy"]["value"]
        assert child.data.metrics["test/accuracy"] == pytest.approx(accuracy.mean(), abs=1e-12)
        assert f"{accuracy.mean():.3f} ({accuracy.std():.3f})" in text
        assert child.data.params["arm"] in ("all zero", "random biases", "random weights")
    report = (home / written[-1]).read_text()
    assert "Why not the opposite: random biases and zero weights?" in report
    assert "Random biases break the tie between neurons." in report

    again = run_command(*ANSWERS, cwd=home)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[0] == "all 2 studies are there already, nothing to train"
    assert (home / "out/answers.md").read_text() == text


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["study.name=x"], "study.name=x: can't be given here"),
        (["experiment=q1"], "experiment=q1: can't be given here"),
        (["report.questions=[q9]"], "report.questions.0=q9"),
        (["trainer.batch_size=2000"], "trainer.batch_size=2000"),
        (["report.questions=[q1]", "search.space.arm=null"], "q1 compares its arms"),
    ],
)
def test_mistakes_are_named_before_anything_is_trained(home, overrides, expected):
    done = run_command("answers", *overrides, cwd=home)
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.slow
def test_the_verdict_s_figures_are_printed(home):
    command = ["answers", "report.questions=[verdict]", "report.answers=out", "search.n_trials=15", *STUDY[:3]]
    done = run_command(*command, "dataset=wine", "trainer.batch_size=32", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "Spearman correlation of the score with final test accuracy over 15 random trials: " in done.stdout
    assert "reach 90 % of the best accuracy" in done.stdout
    text = (home / "out/answers.md").read_text()
    assert "](answers/verdict.png)" in text
    assert (home / "out/answers/verdict.png").is_file()
