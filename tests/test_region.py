"""The region that is as good as the best trial, on spaces whose good part is known."""

import numpy as np
import pandas as pd
import pytest

from pipeline.report.region import PURITY, TOLERANCE, find_region


def table(values, **axes):
    columns = {f"params.{key}": [str(v) for v in column] for key, column in axes.items()}
    found = pd.DataFrame({"trial": range(len(values)), "metrics.search/objective": values, **columns})
    return found.assign(**{"metrics.spread/val/accuracy": 0.002})


@pytest.mark.parametrize("seed", range(5))
def test_a_box_of_good_trials_is_found(seed):
    rng = np.random.default_rng(seed)
    scale, bias = 10 ** rng.uniform(-3, 1, 400), rng.uniform(-2, 2, 400)
    good = (scale > 0.3) & (scale < 3) & (np.abs(bias) < 0.5)
    trials = table(np.where(good, 0.95, 0.5) + rng.uniform(0, 0.003, 400), scale=scale, bias=bias)
    region = find_region(trials, ["scale", "bias"], "val/accuracy", 3)
    across, up = region.ranges
    assert region.good / region.inside >= PURITY
    assert region.all_good == good.sum()
    assert region.good >= 0.7 * good.sum()
    assert 0.2 < across.low < 0.6 < 2 < across.high < 4
    assert -0.7 < up.low < -0.25 < 0.25 < up.high < 0.7
    inside = (scale >= across.low) & (scale <= across.high) & (bias >= up.low) & (bias <= up.high)
    assert (inside.sum(), good[inside].sum()) == (region.inside, region.good)


def test_choices_are_peeled_one_by_one():
    rng = np.random.default_rng(0)
    scheme = rng.choice(["he", "glorot", "zeros"], 90)
    trials = table(np.where(scheme == "zeros", 0.1, 0.9), scheme=scheme, bias=rng.uniform(-1, 1, 90))
    region = find_region(trials, ["scheme", "bias"], "val/accuracy", 3)
    assert set(region.ranges[0].choices) == {"he", "glorot"}
    assert region.ranges[1].whole
    assert region.text == "scheme glorot or he, any bias"


def test_where_all_are_as_good_the_region_is_the_whole_space():
    region = find_region(table([0.9] * 12, bias=range(12)), ["bias"], "val/accuracy", 3)
    assert (region.inside, region.good, region.text) == (12, 12, "any bias")


def test_a_single_trial_is_its_own_region():
    region = find_region(table([0.9], bias=[0.5]), ["bias"], "val/accuracy", 1)
    assert (region.inside, region.text, region.margin) == (1, "bias 0.5", TOLERANCE)


def test_the_margin_is_that_of_a_difference_of_means():
    trials = table([0.90, 0.89, 0.86, 0.2], bias=range(4))
    trials["metrics.spread/val/accuracy"] = [0.01, 0.02, 0.03, 0.5]
    region = find_region(trials, ["bias"], "val/accuracy", 4)
    std = np.sqrt((0.01**2 + 0.02**2 + 0.03**2) / 3)  # 0.2 is not near the best
    assert region.margin == pytest.approx(2.2622 * std * np.sqrt(2 / 4), rel=1e-4)  # t with 9 degrees of freedom


def test_the_least_loss_is_the_best():
    trials = table([0.5, 0.1, 0.102, 2.0], bias=range(4))
    region = find_region(trials, ["bias"], "val/loss", 3)
    assert (region.ranges[0].low, region.ranges[0].high) == (1, 2)
