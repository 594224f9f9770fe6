"""How the verdict did, from the stored runs of a real study and in closed form."""

import math

import numpy as np
import pytest
from conftest import SMALL
from scipy.stats import rankdata

from pipeline.answers import rank_verdicts
from pipeline.answers.ranking import _interval
from pipeline.config import compose
from pipeline.report import write_answers
from pipeline.tracking import read_study


@pytest.fixture(scope="module")
def runs(small_study):
    return read_study(compose([*SMALL, f"tracking.dir={small_study}/mlruns"]), "small")


def test_the_figures_are_those_of_the_stored_runs(runs):
    found = rank_verdicts(runs)
    score = runs.trials["metrics.verdict/score"].to_numpy()
    accuracy = runs.trials["metrics.test/accuracy"].to_numpy()
    # Spearman's correlation is Pearson's of the ranks.
    assert found.spearman == pytest.approx(np.corrcoef(rankdata(score), rankdata(accuracy))[0, 1])
    assert found.trials == 8
    assert found.good == sum(a >= 0.9 * max(accuracy) for a in accuracy)
    assert found.hopeless == sum(s < 0.1 for s in score) > 0
    assert found.missed == sum(s < 0.1 and a >= 0.9 * max(accuracy) for s, a in zip(score, accuracy, strict=True))
    assert found.low < found.spearman < found.high
    assert found.png.startswith(b"\x89PNG")
    assert f"over 8 random trials: {found.spearman:.3f}" in found.sentences[0]


def test_the_interval_in_closed_form():
    # Without correlation Fisher's z has variance 1 / (n - 3): here 1 / 100.
    assert _interval(0.0, 103) == pytest.approx((-math.tanh(0.19599639), math.tanh(0.19599639)), abs=1e-7)
    assert _interval(1.0, 50) == (1.0, 1.0)


def test_too_few_trials_have_no_ranking(runs):
    from dataclasses import replace

    assert rank_verdicts(replace(runs, trials=runs.trials.iloc[:2])) is None
    assert rank_verdicts(replace(runs, trials=runs.trials.iloc[:0])) is None


def test_the_pages_hold_it(runs, tmp_path):
    config = compose([f"report.answers={tmp_path}/docs", f"tracking.dir={tmp_path}/mlruns"])
    ranking = rank_verdicts(runs)
    html, markdown = write_answers(config, [], ranking)
    for page in (html, markdown):
        text = page.read_text()
        assert f"{ranking.spearman:.3f}" in text
        assert "verdict" in text
    assert (tmp_path / "docs" / "answers" / "verdict.png").read_bytes() == ranking.png
