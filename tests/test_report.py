"""The report of a study: every number recomputed from trials.csv, and studies with little to tell."""

import math
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL, run_command
from scipy import stats

from pipeline.records import MemberRecord, TrialRecord, Verdict
from pipeline.report import build_report
from pipeline.runner import load_dataset
from pipeline.tracking import StudyTracker, TrialRun, read_study

SCHEMES = "+search.space.weight_init.name={choices: [he_normal, glorot_normal, zeros, constant]}"


class Page(HTMLParser):
    """The text of a page, and its numbers: ``(attributes, text)``."""

    def __init__(self, html):
        super().__init__()
        self.numbers, self.links, self.text, self.scripts, self._open = [], [], [], 0, None
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        if tag == "span" and attributes.get("class") == "n":
            self._open = attributes
        if tag == "a" and "data-run" in attributes:
            self.links.append(attributes)
        self.scripts += tag == "script"

    def handle_data(self, data):
        if self._open is not None:
            self.numbers.append((self._open, data))
            self._open = None
        self.text.append(data)


def recomputed(table, number):
    """What a number of the page must say, from the rows of ``trials.csv`` alone."""
    kind, stat = number["data-kind"], number["data-stat"]
    rows = table[table["kind"] == kind]
    if stat == "count":
        return str((rows["state"] == number["data-where"]).sum())
    values = rows[rows["run_id"] == number["data-run"]].get(f"metrics.{number['data-metric']}")
    if values is None or (stat == "value" and values.isna().all()):
        return "-"
    values = values.fillna(0.0).to_numpy(float)
    if stat == "value":
        (found,) = values
    else:
        mean, std, n = values.mean(), values.std(ddof=1), len(values)
        half = stats.t.ppf(0.975, n - 1) * std / math.sqrt(n)
        found = {"mean": mean, "std": std, "low": mean - half, "high": mean + half}[stat]
    return f"{found:.3f}"


@pytest.fixture(scope="module")
def of_schemes(tmp_path_factory, template_store):
    folder = tmp_path_factory.mktemp("schemes")
    keys = ["study.name=schemes", "search.n_trials=24", "search.replicates=3", "trainer.epochs=3", "model.width=16"]
    done = run_command("sweep", *keys, "search.confirm=4", SCHEMES, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "mlruns/reports/schemes"


def test_every_number_is_recomputed_from_the_table(of_schemes):
    table = pd.read_csv(of_schemes / "trials.csv")
    page = Page((of_schemes / "report.html").read_text())
    assert len(page.numbers) > 50
    kinds = {(number["data-kind"], number["data-stat"]) for number, _ in page.numbers}
    assert {("trial", "value"), ("trial", "count"), ("confirmation", "low"), ("replicate", "mean")} <= kinds
    for number, shown in page.numbers:
        assert shown == recomputed(table, number), number


def test_the_table_is_what_mlflow_holds(of_schemes):
    from mlflow.tracking import MlflowClient

    table = pd.read_csv(of_schemes / "trials.csv")
    assert pd.read_parquet(of_schemes / "trials.parquet").shape == table.shape
    trials = table[table["kind"] == "trial"]
    assert sorted(trials["trial"]) == list(range(24))
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


def test_nothing_is_loaded_from_elsewhere(of_schemes):
    html = (of_schemes / "report.html").read_text()
    head = html.split("<script>")[0]
    assert "<link" not in html.split("<script>")[0]
    assert "src=" not in head
    assert 'src="http' not in html
    assert "Scheme against scheme" in html


def shown(config, name):
    """The report of a study that is in the store."""
    written = build_report(config, read_study(config, name))
    return Page(written.page.read_text()), written


def tracker_of(config, name):
    tracker = StudyTracker(config, name, ["weight_init.scale", "bias_init.value"], load_dataset(config))
    tracker.begin()
    return tracker


def trial(config, number, accuracy=None, reason=""):
    values = {"weight_init.scale": 1.0 + number, "bias_init.value": 0.0}
    if accuracy is None:
        return TrialRun(number, config, values, TrialRecord([], Verdict(0.0, "hopeless", True), reason), None, 0.0)
    curve = {"val/accuracy": {0: 0.1, 16: accuracy}, "train/loss": {0: 2.0, 16: 1 - accuracy}}
    member = MemberRecord(0, {"val/accuracy": accuracy, "test/accuracy": accuracy}, {}, curve)
    return TrialRun(number, config, values, TrialRecord([member]), accuracy, 0.0)


def test_a_study_without_trials_says_so(quick):
    config = quick("study.name=empty")
    tracker_of(config, "empty")
    page, written = shown(config, "empty")
    text = " ".join(page.text)
    assert "under way" in text
    assert "nothing to show" in text
    assert "Not shown: no trial has been trained to its end yet" in text
    assert written.summary is None


def test_a_single_trial_is_shown_and_what_is_missing_named(quick):
    config = quick("study.name=single", "search.replicates=1")
    tracker = tracker_of(config, "single")
    tracker.log([trial(config, 0, 0.9)])
    tracker.end("FINISHED")
    text = " ".join(shown(config, "single")[0].text)
    assert "under way" not in text
    for says in ("0.900", "one scheme only", "fewer than 20 trials", "no networks to look at", "did not measure"):
        assert says in text


def test_if_all_were_pruned_or_failed_the_reasons_are_told(quick):
    config = quick("study.name=none")
    tracker = tracker_of(config, "none")
    tracker.log([trial(config, n, reason="") for n in range(3)])
    tracker.end("FAILED")
    text = " ".join(shown(config, "none")[0].text)
    assert "No trial was trained to its end" in text
    assert "was stopped" in text
    assert "not trained: hopeless" in text


@pytest.mark.slow
def test_a_report_of_thousands_of_trials_is_one_small_page(quick):
    config = quick("study.name=large")
    tracker = tracker_of(config, "large")
    rng, trials = np.random.default_rng(0), []
    for number in range(2300):
        values = {"weight_init.scale": float(10 ** rng.uniform(-3, 1)), "bias_init.value": float(rng.uniform(-2, 2))}
        accuracy = float(rng.random())
        trials.append(TrialRun(number, config, values, trial(config, number, accuracy).record, accuracy, 0.0))
    tracker.log(trials)
    tracker.end("FINISHED")
    page, written = shown(config, "large")
    assert "Of the 2300 trials 1000 are drawn as points, the best 100 and of the others an even choice" in " ".join(
        " ".join(page.text).split()
    )
    assert written.page.stat().st_size < 12e6
    best = max(trials, key=lambda t: t.objective)
    assert written.summary.best[0].trial == best.number
    assert f"{best.objective:.3f}" in {text for _, text in page.numbers}


HOSTILE = "<script>alert(1)</script>"


@pytest.mark.parametrize("name", [HOSTILE, "../../x", "a|b`c*[d](e)", "$HOME & 'q'"])
def test_a_hostile_name_is_text_and_stays_in_its_folder(quick, name, home):
    config = quick()
    tracker = tracker_of(config, name)
    tracker.log([trial(config, 0, 0.9)])
    tracker.end("FINISHED")
    page, written = shown(config, name)
    assert name in "".join(page.text)
    assert HOSTILE not in written.page.read_text()
    assert HOSTILE not in written.note
    lines = (written.page.parent / "report.md").read_text().splitlines()
    assert not [line for line in lines if HOSTILE in line and not line.startswith("    ")]  # but as code
    reports = home / "mlruns" / "reports"
    assert written.page.resolve().parent.parent == reports.resolve()
    assert {path.name for path in home.iterdir()} == {"mlruns"}
    assert not list(home.parent.glob("x*"))


def test_a_hostile_study_is_swept_and_reported_by_the_command(home):
    done = run_command("sweep", *SMALL, f"study.name='{HOSTILE}'", "search.n_trials=2", cwd=home)
    assert done.returncode == 0, done.stderr
    path = done.stdout.splitlines()[-1]
    html = (home / path).read_text()
    assert HOSTILE not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert ".." not in path
