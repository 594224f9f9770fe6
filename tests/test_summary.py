"""What a report says of its trials, against a count of each."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from plotly.offline import get_plotlyjs

from pipeline.records import MemberRecord, TrialRecord
from pipeline.report import build_report, summarise
from pipeline.report.figures import heat_map, scatter
from pipeline.report.summary import BEST_DOTS, DOTS, OTHER, SYMPTOMS, some_trials
from pipeline.runner import load_dataset
from pipeline.tracking import StudyTracker, TrialRun, read_study


class Runs:
    """Stored trials of made-up numbers."""

    objective = "val/accuracy"

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(count)
        accuracy = rng.integers(20, 100, count) / 100
        self.trials = pd.DataFrame(
            {
                "trial": range(count),
                "run_id": [f"r{i}" for i in range(count)],
                "title": [f"t{i}" for i in range(count)],
                "params.weight_init.scale": [str(10**x) for x in rng.uniform(-3, 1, count)],
                "params.bias_init.value": [str(x) for x in rng.uniform(-2, 2, count)],
                "params.arm": rng.choice(["a", "b"], count),
                "metrics.val/accuracy": accuracy,
                "metrics.search/objective": accuracy,
                "metrics.spread/val/accuracy": 0.01,
                "metrics.health/diverged_replicates": rng.integers(0, 2, count).astype(float),
                "metrics.init/saturation/flat_fraction": np.where(rng.random(count) < 0.1, np.nan, rng.random(count)),
                "metrics.init/redundancy/effective_width": rng.random(count),
            }
        )


def test_symptoms_are_those_of_a_count():
    runs = Runs(300)
    summary = summarise(runs, top=4)
    trials = runs.trials.to_dict("records")
    weak = [t for t in trials if t["metrics.val/accuracy"] < 0.9 * max(t["metrics.val/accuracy"] for t in trials)]
    expected = dict.fromkeys([*SYMPTOMS, OTHER], 0)
    for t in weak:  # no trial has a gradient ratio
        shown = (
            t["metrics.health/diverged_replicates"] > 0,
            t["metrics.init/redundancy/effective_width"] < 0.5,
            t["metrics.init/saturation/flat_fraction"] > 0.5,
            False,
            True,
        )
        expected[list(expected)[shown.index(True)]] += 1
    assert summary.weak == len(weak) == sum(summary.symptoms.values())
    assert summary.symptoms == {name: count for name, count in expected.items() if count}
    assert summary.diverged == sum(t["metrics.health/diverged_replicates"] > 0 for t in trials)


def test_the_best_the_median_and_the_worst():
    runs = Runs(301)
    summary = summarise(runs, top=4)
    ranked = sorted(runs.trials.to_dict("records"), key=lambda t: (-t["metrics.val/accuracy"], t["trial"]))
    assert [row.trial for row in summary.best] == [t["trial"] for t in ranked[:4]]
    assert summary.median.trial == ranked[150]["trial"]
    assert summary.worst.title == ranked[-1]["title"]
    assert math.isnan(summary.worst.flat_fraction)  # which no run has


def test_few_trials_are_all_drawn_and_of_many_the_best_and_an_even_choice():
    few = Runs(DOTS).trials
    assert some_trials(few, "val/accuracy") is few
    trials = Runs(3700).trials
    shown = some_trials(trials, "val/accuracy")
    assert len(shown) == DOTS
    assert shown["trial"].is_monotonic_increasing
    best = sorted(trials.to_dict("records"), key=lambda t: (-t["metrics.val/accuracy"], t["trial"]))[:BEST_DOTS]
    assert {t["trial"] for t in best} <= set(shown["trial"])
    assert np.diff(shown["trial"]).max() <= 3700 / (DOTS - BEST_DOTS) + 3


def test_cells_are_means_of_all_trials_and_dots_are_some():
    trials = Runs(3700).trials
    dots = some_trials(trials, "val/accuracy")
    figure = heat_map(trials, dots, "bias_init.value", "weight_init.scale", "val/accuracy")
    cells, points = figure.data
    assert len(points.x) == DOTS
    bias = trials["params.bias_init.value"].astype(float)
    scale = np.log10(trials["params.weight_init.scale"].astype(float))
    accuracy = trials["metrics.val/accuracy"]
    for row, column in ((0, 0), (7, 11), (23, 23)):
        x, y = cells.x[column : column + 2], cells.y[row : row + 2]
        inside = (bias >= x[0]) & (bias <= x[1]) & (scale >= y[0]) & (scale <= y[1])
        assert inside.sum() > 0
        assert cells.z[row][column] == pytest.approx(accuracy[inside].mean(), abs=1e-12)


def test_a_text_axis_has_categories():
    trials = Runs(30).trials
    (points,) = scatter(trials, "arm", "val/accuracy").data
    assert set(points.x) == {"a", "b"}
    assert list(points.y) == trials["metrics.val/accuracy"].tolist()


@pytest.mark.slow
def test_a_report_of_thousands_of_trials_is_one_small_page(quick):
    config = quick("study.name=large")
    tracker = StudyTracker(config, "large", ["weight_init.scale", "bias_init.value"], load_dataset(config))
    tracker.begin()
    rng, trials = np.random.default_rng(0), []
    for number in range(2300):
        values = {"weight_init.scale": float(10 ** rng.uniform(-3, 1)), "bias_init.value": float(rng.uniform(-2, 2))}
        accuracy = float(rng.random())
        curve = {"val/accuracy": {0: 0.1, 16: accuracy}, "train/loss": {0: 2.0, 16: 1 - accuracy}}
        record = TrialRecord([MemberRecord(0, {"val/accuracy": accuracy}, {}, curve)])
        trials.append(TrialRun(number, config, values, record, accuracy, 0.0))
    tracker.log(trials)
    tracker.end("FINISHED")
    runs = read_study(config, "large")
    assert runs.trials["metrics.val/accuracy"].tolist() == [t.objective for t in trials]
    page = build_report(config, runs).read_text()
    assert "Of the 2300 trials 1000 are drawn as dots, the 100 best and of the others an even choice" in page
    assert len(page.replace(get_plotlyjs(), "")) < 300_000
    figures = [json.loads(text) for text in re.findall(r'<script type="application/json">(.*?)</script>', page)]
    assert len(figures) == 3  # accuracy over the space, and two curves
    best = max(trials, key=lambda t: t.objective)
    assert f"(trial {best.number}): validation accuracy\n  {best.objective:.3f}" in page
