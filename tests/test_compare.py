"""Studies and runs side by side, through the command, against the stored replicates."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import QUICK, SMALL, run_command
from mlflow.tracking import MlflowClient
from pages import Page
from recompute import Sides, agrees
from scipy import stats


@pytest.fixture(scope="module")
def two(tmp_path_factory, template_store):
    """Two studies of one store that differ in the weight scheme; returns the folder. Read only."""
    folder = tmp_path_factory.mktemp("two")
    for name, extra in (("first", []), ("second", ["weight_init=tied"])):
        keys = [*SMALL, f"study.name={name}", "search.n_trials=4", *extra]
        done = run_command("sweep", *keys, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder


def client_of(folder):
    return MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")


def runs_of(folder, kind):
    client = client_of(folder)
    experiment = client.get_experiment_by_name("initlab").experiment_id
    return client.search_runs([experiment], f"tags.`initlab.kind` = '{kind}'")


def test_studies_are_compared_on_the_winners_fresh_seeds(two):
    done = run_command("compare", "first", "second", cwd=two)
    assert done.returncode == 0, done.stderr
    *_, page, text, table = done.stdout.splitlines()
    networks = pd.read_csv(two / table)
    a, b = (networks[networks["side"] == name].set_index("seed")["test/accuracy"] for name in ("first", "second"))
    assert list(a.index) == list(b.index) == [5000, 5001]  # fresh ones, the same on both sides
    difference = (b - a).to_numpy()
    html, markdown = (two / page).read_text(), (two / text).read_text()
    assert f"{difference.mean():+.4f}" in html
    assert "weight_init.name" in html
    assert "paired, 2 seeds" in "".join(Page(html).text)
    row = next(line for line in markdown.splitlines() if line.startswith("| test/accuracy"))
    cells = [cell.strip() for cell in row.split("|")[1:-1]]
    half = stats.t.ppf(0.975, 1) * difference.std(ddof=1) / np.sqrt(2)
    assert cells[2:5] == [f"{a.mean():.4f}", f"{b.mean():.4f}", f"{difference.mean():+.4f}"]
    assert cells[5] == f"{difference.mean() - half:+.4f} to {difference.mean() + half:+.4f}"


def test_every_number_is_recomputed_from_the_networks(two):
    done = run_command("compare", "first", "second", cwd=two)
    page, text, table = (two / line for line in done.stdout.splitlines()[-3:])
    shown = Page(page.read_text()).numbers
    sides = Sides(table, [number for number, _ in shown])
    assert len(shown) > 100
    assert {(n["data-kind"], n["data-stat"]) for n, _ in shown} >= {
        ("side", "networks"), ("side", "diverged"), ("side", "mean"), ("side", "low"), ("side", "high"),
        ("difference", "mean"), ("difference", "low"), ("difference", "high"), ("difference", "p"),
    }  # fmt: skip
    for number, said in shown:
        assert agrees(said, sides.says(number)), (number, said, sides.says(number))
    assert "![" in text.read_text()
    assert (page.parent / "figures/sides.svg").stat().st_size > 10_000


def test_runs_are_compared_by_id(two):
    best, other = runs_of(two, "trial")[:2]
    done = run_command("compare", best.info.run_id, other.info.run_id, cwd=two)
    assert done.returncode == 0, done.stderr
    html = (two / done.stdout.splitlines()[-3]).read_text()
    assert best.info.run_name in html
    assert best.info.run_id in html


def test_networks_without_seeds_in_common_are_not_paired(two):
    done = run_command("sweep", *SMALL, "study.name=third", "seed=1", "search.n_trials=4", cwd=two)
    assert done.returncode == 0, done.stderr
    done = run_command("compare", "first", "third", cwd=two)
    text = "".join(Page((two / done.stdout.splitlines()[-3]).read_text()).text)
    assert "Welch, 4 networks" in text
    assert "paired, " not in text


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([], "two to 26 names"),
        (["first"], "two to 26 names"),
        (["first", "nobody"], "run=nobody: no study of this name"),
        (["first", "'; DROP TABLE runs; --"], "no study of this name"),
    ],
)
def test_mistakes_are_told_in_a_line(two, names, says):
    done = run_command("compare", *names, cwd=two)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_open_prints_the_address_of_a_study_and_of_a_run(two):
    (study,) = (run for run in runs_of(two, "study") if run.info.run_name == "first")
    trial = runs_of(two, "trial")[0]
    for name, run in (("first", study), (trial.info.run_id, trial)):
        done = run_command("open", name, "tracking.port=5432", cwd=two)
        expected = f"http://127.0.0.1:5432/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}"
        assert (done.returncode, done.stdout.strip()) == (0, expected)
    assert run_command("open", "nobody", cwd=two).returncode == 2
    assert run_command("open", cwd=two).returncode == 2


def test_a_password_of_the_tracking_server_is_in_no_address():
    from pipeline.config import compose
    from pipeline.tracking import ui_address

    config = compose(["tracking.uri='http://user:secret@example.org:8080/mlflow/'", *QUICK])
    assert ui_address(config) == "http://example.org:8080/mlflow"


def test_the_views_of_the_newest_studies_are_named(two):
    from pipeline.config import compose
    from pipeline.tracking import newest_views

    config = compose([f"tracking.dir={two}/mlruns", "tracking.port=5432"])
    found = newest_views(config, 5)
    assert set(found) >= {"first", "second"}
    experiment = client_of(two).get_experiment_by_name("initlab")
    assert found["first"] == (
        f"http://127.0.0.1:5432/#/experiments/{experiment.experiment_id}/runs?viewStateShareKey=first"
    )
    assert len(newest_views(config, 1)) == 1
    state = json.loads(experiment.tags["mlflow.sharedViewState.first"])
    sections = [section["name"] for section in state["compareRunSections"]]
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} <= set(sections)
    # Each metric of a trial has a section that stands where it is meant to.
    trial = runs_of(two, "trial")[0]
    assert {key.rpartition("/")[0] for key in trial.data.metrics} <= set(sections)
