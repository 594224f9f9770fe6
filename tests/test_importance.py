"""Which axis of a search matters, on spaces where one alone does."""

import numpy as np
import pandas as pd
import pytest

from pipeline.search import FEWEST_FOR_IMPORTANCE, importances


@pytest.mark.parametrize("minimize", [False, True])
def test_the_axis_that_decides_matters_most(minimize):
    rng = np.random.default_rng(0)
    scale, bias, scheme = 10 ** rng.uniform(-3, 1, 300), rng.uniform(-2, 2, 300), rng.choice(["a", "b"], 300)
    value = -np.abs(np.log10(scale))
    trials = pd.DataFrame(
        {"params.scale": scale.astype(str), "params.bias": bias.astype(str), "params.scheme": scheme,
         "metrics.search/objective": -value if minimize else value}
    )  # fmt: skip
    trials.loc[0, "params.scale"] = "0.0"  # an axis of logarithms with 0
    found = importances(trials, ["scale", "bias", "scheme"], minimize)
    assert next(iter(found)) == "scale"
    assert found["scale"] > 0.8
    assert sum(found.values()) == pytest.approx(1)


def test_few_trials_or_one_axis_tell_nothing():
    trials = pd.DataFrame({"params.a": ["1", "2"] * 20, "params.b": ["1"] * 40, "metrics.search/objective": range(40)})
    assert importances(trials, ["a", "b"], False) == {}
    few = trials.head(FEWEST_FOR_IMPORTANCE - 1).assign(**{"params.b": ["1", "2", "3"] * 6 + ["4"]})
    assert importances(few, ["a", "b"], False) == {}
