"""Scheme against scheme, against scipy and by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.report.contest import contest_axis, hold_contest

SEEDS = 8


def trials_of(*schemes):
    rows = [
        {"trial": 2 * i + k, "run_id": f"r{2 * i + k}", "title": f"t{2 * i + k}", "params.weight_init.name": name,
         "metrics.search/objective": 0.9 - 0.1 * k - 0.01 * i}
        for i, name in enumerate(schemes) for k in (0, 1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def networks(values):
    """values: ``{trial: by seed}``."""

    def read(run_ids):
        return pd.DataFrame(
            [
                {"trial": trial, "seed": seed, "metric": "test/accuracy", "value": value}
                for trial, own in values.items()
                if f"r{trial}" in run_ids
                for seed, value in enumerate(own)
            ]
        )

    return read


@pytest.fixture
def measured():
    rng = np.random.default_rng(0)
    seeds = rng.normal(0, 0.01, SEEDS)  # what a seed does to all
    turns = 1e-3 * (-1.0) ** np.arange(SEEDS)  # which of two is better
    return {0: 0.95 + seeds + turns, 2: 0.95 + seeds, 4: 0.8 + seeds + rng.normal(0, 1e-3, SEEDS)}


def test_the_best_trial_of_each_is_compared_seed_by_seed(measured):
    found = hold_contest(trials_of("a", "b", "c"), "weight_init.name", "val/accuracy", networks(measured))
    assert {entry.name: entry.trial for entry in found.entries} == {"a": 0, "b": 2, "c": 4}
    raw = {}
    for pair in found.pairs:
        a, b = (
            next(e for e in found.entries if e.name == name).values.to_numpy() for name in (pair.a.name, pair.b.name)
        )
        raw[pair.a.name, pair.b.name] = stats.ttest_rel(a, b).pvalue
        assert pair.comparison.p == pytest.approx(raw[pair.a.name, pair.b.name])
        assert pair.comparison.difference.mean == pytest.approx((a - b).mean())
    largest = max(pair.p for pair in found.pairs)
    assert largest == pytest.approx(max(raw.values()))  # Holm leaves the largest as it is
    assert found.friedman == pytest.approx(stats.friedmanchisquare(*measured.values()).pvalue)
    table = pd.DataFrame(measured)
    ranks = table.rank(axis=1, ascending=False).mean()
    assert [entry.rank for entry in found.entries] == sorted(ranks)


def test_a_clique_joins_what_cannot_be_told_apart(measured):
    found = hold_contest(trials_of("a", "b", "c"), "weight_init.name", "val/accuracy", networks(measured))
    assert {e.name for e in found.entries[:2]} == {"a", "b"}
    assert found.cliques == [(0, 1)]
    assert [p.differs for p in found.pairs if "c" in (p.a.name, p.b.name)] == [True, True]


def test_a_network_that_diverged_has_accuracy_0(measured):
    measured[4] = np.where(np.arange(SEEDS) == 3, np.nan, measured[4])
    found = hold_contest(trials_of("a", "b", "c"), "weight_init.name", "val/accuracy", networks(measured))
    last = next(e for e in found.entries if e.name == "c")
    assert last.values[3] == 0
    assert last.spread.count == SEEDS


def test_one_scheme_is_no_contest(measured):
    assert hold_contest(trials_of("a"), "weight_init.name", "val/accuracy", networks(measured)) is None


def test_the_axis_is_one_that_is_not_numeric():
    trials = pd.DataFrame(
        {"params.depth": ["1", "2"], "params.model.activation": ["tanh", "relu"], "params.weight_init.name": ["a", "b"],
         "params.bias_init.name": ["zeros", "zeros"]}
    )  # fmt: skip
    assert contest_axis(trials, ["depth", "model.activation", "weight_init.name"]) == "weight_init.name"
    assert contest_axis(trials, ["depth", "model.activation"]) == "model.activation"
    assert contest_axis(trials, ["depth", "bias_init.name"]) is None
