"""What a report says of its trials, against a count of each."""

import math

import numpy as np
from made_up import Runs

from pipeline.report import summarise
from pipeline.report.summary import BEST_DOTS, DOTS, OTHER, SYMPTOMS, some_trials


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
