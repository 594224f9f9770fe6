"""The report of a study: every number recomputed from trials.csv."""

import base64
import json
import math
import re
import shlex

import numpy as np
import pandas as pd
import pytest
from conftest import run_command
from pages import Page
from recompute import Table, agrees

from pipeline.report.plotly_js import plotly_scripts

SCHEMES = "+search.space.weight_init.name={choices: [he_normal, glorot_normal, zeros, constant]}"


# Numbers in the text that no run says: the figures of definitions, and of the configuration.
GIVEN = [
    r"95 %",
    r"90 %",
    r"effective width below 0\.5",
    r"flat fraction above 0\.5",
    r"ratio below 0\.01",
    r"its 12 most accurate",
    r"the best 100 and",
    r"\b3 replicates",
    r"1: the best",
]


@pytest.fixture(scope="module")
def of_schemes(tmp_path_factory, template_store):
    folder = tmp_path_factory.mktemp("schemes")
    keys = ["study.name=schemes", "search.n_trials=48", "search.replicates=3", "trainer.epochs=8", "model.width=16"]
    done = run_command("sweep", *keys, "search.confirm=4", SCHEMES, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "mlruns/reports/schemes"


def test_every_number_is_recomputed_from_the_table(of_schemes):
    table = Table(of_schemes / "trials.csv")
    page = Page((of_schemes / "report.html").read_text())
    assert len(page.numbers) > 100
    kinds = {(number["data-kind"], number["data-stat"]) for number, _ in page.numbers}
    assert kinds >= {
        ("trial", "value"), ("trial", "count"), ("trial", "weak"), ("trial", "symptom"), ("trial", "tried"),
        ("confirmation", "low"), ("replicate", "mean"), ("replicate", "rank"), ("replicate", "friedman"),
        ("pair", "mean"), ("pair", "p"), ("region", "margin"), ("region", "inside"), ("region", "low"),
        ("importance", "share"), ("exemplar", "value"),
    }  # fmt: skip
    for number, shown in page.numbers:
        assert agrees(shown, table.says(number)), (number, shown, table.says(number))


def test_no_number_stands_in_the_text_unmarked(of_schemes):
    table = pd.read_csv(of_schemes / "trials.csv")
    page = Page((of_schemes / "report.html").read_text())
    trials = table[table["kind"] == "trial"].set_index("run_id")
    for link, text in page.links:
        run = link["data-run"]
        assert text == (str(int(trials.loc[run, "trial"])) if run in trials.index else run)
    text = " ".join(" ".join(page.plain).split())
    for title in sorted(trials["title"], key=len, reverse=True):
        text = text.replace(title, "")
    for given in GIVEN:
        text = re.sub(given, "", text)
    assert re.findall(r".{0,40}\d.{0,20}", text) == []


def test_the_text_of_the_markdown_says_no_other_numbers(of_schemes):
    shown = {text for _, text in Page((of_schemes / "report.html").read_text()).numbers}
    table = [line for line in (of_schemes / "report.md").read_text().splitlines() if line.startswith("|")]
    cells = {cell.strip() for line in table for part in line.split("|") for cell in part.split(" to ")}
    numbers = {cell for cell in cells if re.fullmatch(r"\d\.\d{2,}", cell)}
    assert len(numbers) > 20
    assert numbers <= shown


def test_points_curves_and_front_are_those_of_the_runs(of_schemes):
    trials = Table(of_schemes / "trials.csv").trials.set_index("run_id")
    page = Page((of_schemes / "report.html").read_text())
    figures = {name: json.loads(text) for name, text in page.figures.items()}
    (dots,) = (trace for trace in figures["redundancy/effective_width"]["data"] if trace.get("mode") == "markers")
    assert len(dots["customdata"]) == 48
    for run, metric, value in dots["customdata"]:
        assert trials.loc[run, f"metrics.{metric}"] == value
    best = trials["metrics.search/objective"].idxmax()
    layers = pd.read_parquet(of_schemes.parents[1] / "artifacts" / best / "artifacts" / "layers.parquet")
    own = layers[(layers["layer"] == "(network)") & (layers["metric"] == "train/loss")]
    curve = next(trace for trace in figures["train/loss"]["data"] if trace.get("name", "").startswith("best"))
    assert values_of(curve["y"]) == pytest.approx(own.groupby("step")["value"].mean().tolist(), rel=1e-12)
    aims = trials[["metrics.val/accuracy", "metrics.redundancy/effective_width"]].assign(
        flat=-trials["metrics.saturation/flat_fraction"]
    )
    front = [not any((other >= row).all() and (other > row).any() for other in aims.to_numpy())
             for row in aims.to_numpy()]  # fmt: skip
    assert trials["on_front"].tolist() == front


def values_of(axis):
    """The numbers of an axis as plotly writes them: a list, or an array in base64."""
    return axis if isinstance(axis, list) else np.frombuffer(base64.b64decode(axis["bdata"]), axis["dtype"]).tolist()


def test_the_region_holds_all_trials_between_its_ends(of_schemes):
    trials = Table(of_schemes / "trials.csv").trials
    inside = trials[trials["in_region"]]
    box = pd.Series(True, trials.index)
    for axis in ("params.weight_init.scale", "params.bias_init.value"):
        box &= trials[axis].between(inside[axis].min(), inside[axis].max())
    box &= trials["params.weight_init.name"].isin(inside["params.weight_init.name"])
    assert box.equals(trials["in_region"])


def test_the_table_is_what_mlflow_holds(of_schemes):
    from mlflow.tracking import MlflowClient

    table = pd.read_csv(of_schemes / "trials.csv")
    assert pd.read_parquet(of_schemes / "trials.parquet").shape == table.shape
    trials = table[table["kind"] == "trial"]
    assert sorted(trials["trial"]) == list(range(48))
    client = MlflowClient(f"sqlite:///{of_schemes.parents[1]}/mlflow.db")
    for _, row in trials.iterrows():
        stored = client.get_run(row["run_id"]).data.metrics
        own = {key.removeprefix("metrics."): value for key, value in row.items() if key.startswith("metrics.")}
        assert {key: value for key, value in own.items() if not math.isnan(value)} == stored
    confirmed = table[table["kind"] == "confirmation"]
    assert confirmed["seed"].tolist() == [5000, 5001, 5002, 5003]
    parent = client.get_run(confirmed["run_id"].iloc[0])
    assert confirmed["metrics.test/accuracy"].mean() == pytest.approx(parent.data.metrics["best/test/accuracy"])


def test_all_of_it_is_an_artifact_of_the_study(of_schemes):
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{of_schemes.parents[1]}/mlflow.db")
    (parent,) = client.search_runs(
        [client.get_experiment_by_name("initlab").experiment_id], "tags.`initlab.kind` = 'study'"
    )
    names = {file.path for file in client.list_artifacts(parent.info.run_id)}
    assert {"report.html", "report.md", "trials.csv", "trials.parquet", "figures", "replicates.parquet"} <= names
    figures = {file.path for file in client.list_artifacts(parent.info.run_id, "figures")}
    assert {f"figures/{n}.svg" for n in ("map-val-accuracy", "contest", "layers", "exemplars", "front")} <= figures
    note = parent.data.tags["mlflow.note.content"]
    assert note.count("#/experiments/") == 7  # five trials, the report, the view
    assert f"run_uuid={parent.info.run_id}" in note
    view = client.get_experiment(parent.info.experiment_id).tags["mlflow.sharedViewState.schemes"]
    assert "initlab.study" in view


def test_where_it_comes_from_is_told_and_makes_it_again(of_schemes):
    from mlflow.tracking import MlflowClient

    folder = of_schemes.parents[2]
    client = MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("initlab").experiment_id
    (parent,) = client.search_runs([experiment], "tags.`initlab.kind` = 'study'")
    command = parent.data.tags["initlab.command"]
    assert shlex.split(command)[1:4] == ["sweep", "study.name=schemes", "search.n_trials=48"]
    assert SCHEMES in shlex.split(command)
    page = Page((of_schemes / "report.html").read_text())
    source = " ".join(page.text)
    says = ("0; replicates 0 to 2; fresh 5000 to 5003", command, parent.data.tags["initlab.data_digest"],
            parent.data.tags["initlab.versions"], 'make report ARGS="study.name=schemes"')  # fmt: skip
    for told in says:
        assert told in source
    before = {path.name: path.read_bytes() for path in of_schemes.iterdir() if path.is_file()}
    assert run_command("report", "study.name=schemes", cwd=folder).returncode == 0
    after = {path.name: path.read_bytes() for path in of_schemes.iterdir() if path.is_file()}
    assert after["trials.csv"] == before["trials.csv"]
    assert after["report.md"] == before["report.md"]


def test_nothing_is_loaded_from_elsewhere(of_schemes):
    html = (of_schemes / "report.html").read_text()
    own = html.replace(plotly_scripts()[0], "")
    assert len(own) < len(html)
    assert not re.findall(r'<link|src="(?!data:)', own)
    assert "Scheme against scheme" in own
