"""Reports of studies with little to tell, with thousands of trials, and with hostile names."""

import numpy as np
import pytest
from conftest import SMALL, run_command
from pages import Page

from pipeline.loading import load_dataset
from pipeline.records import MemberRecord, TrialRecord, Verdict
from pipeline.report import build_report, tell
from pipeline.tracking import StudyTracker, TrialRun, read_study


def shown(config, name):
    """The report of a study that is in the store."""
    written = build_report(config, tell(read_study(config, name), config.report.top))
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
    page, written = shown(config, "single")
    text = " ".join(page.text)
    assert "It was not trained again on fresh seeds.\n" in (written.page.parent / "report.md").read_text()
    assert "under way" not in text
    for says in ("0.900", "one scheme only", "fewer than 20 trials", "no networks to look at", "has values of"):
        assert says in text
    for claims in ("likely too high", "The worst", "region"):  # a single trial is no winner
        assert claims not in " ".join(page.plain)


def test_if_all_diverged_nothing_is_recommended(quick):
    config = quick("study.name=diverged")
    tracker = tracker_of(config, "diverged")
    nan = float("nan")
    for number in range(3):
        curves = {"val/accuracy": {0: 0.1, 16: nan}, "train/loss": {0: 2.0, 16: nan}}
        member = MemberRecord(0, {"val/accuracy": nan, "test/accuracy": nan}, {}, curves, diverged_step=3)
        values = {"weight_init.scale": 1.0 + number, "bias_init.value": 0.0}
        tracker.log([TrialRun(number, config, values, TrialRecord([member]), 0.0, 0.0)])
    tracker.end("FINISHED")
    page, _ = shown(config, "diverged")
    text = " ".join(page.text)
    for says in ("none of what follows is to be recommended", "no trial ended with finite values", "diverged"):
        assert says in text
    assert "None" not in " ".join(page.plain)


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
