"""The Pareto front against all pairs, and how trials ended."""

import math

import numpy as np
import pandas as pd
import pytest

from pipeline.report.trials import endings_of, front_of


@pytest.mark.parametrize("seed", range(10))
def test_the_front_against_all_pairs(seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 6, (60, 3)) / 5  # with ties
    trials = pd.DataFrame(
        {"trial": range(60), "run_id": [f"r{i}" for i in range(60)], "title": "t", "metrics.val/accuracy": values[:, 0],
         "metrics.redundancy/effective_width": values[:, 1], "metrics.saturation/flat_fraction": 1 - values[:, 2]}
    )  # fmt: skip
    front = front_of(trials, trials)
    expected = {
        i for i, own in enumerate(values) if not any((other >= own).all() and (other > own).any() for other in values)
    }
    assert set(front.best["trial"]) == expected
    assert front.best["accuracy"].is_monotonic_decreasing
    assert len(front.trials) == 60


def test_what_was_not_measured_has_no_front():
    trials = pd.DataFrame({"trial": [0], "run_id": ["r"], "title": ["t"], "metrics.val/accuracy": [0.5]})
    assert front_of(trials, trials) is None


def test_endings_are_counted_by_reason():
    states = pd.DataFrame(
        {
            "trial": range(6),
            "run_id": [f"r{n}" for n in range(6)],
            "state": ["finished", "pruned", "pruned", "pruned", "failed", "finished"],
            "reason": ["", "halving: rank 3 of 9", "halving: rank 5 of 9", "not trained: copies", "", ""],
        }
    )
    found = endings_of(states, pd.Series({0: 0.0, 5: 2.0}), pd.Series({0: 1.0, 5: math.nan}))
    assert {(e.kind, e.count, e.trials) for e in found} == {
        ("pruned", 2, "1, 2"),
        ("pruned", 1, "3"),
        ("failed", 1, "4"),
        ("diverged", 1, "5"),
        ("not measured", 1, "0"),
    }
    assert found[0].reason == "halving: rank .. of .."
