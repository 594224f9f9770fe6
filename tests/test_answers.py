"""The answers: statistics against closed forms, every branch of the rules, sentences and pages."""

import itertools
import math
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from pipeline.answers import QUESTIONS, RULES, VERDICT, Answer, picture
from pipeline.answers.answer import _findings
from pipeline.answers.claims import ACCURACY, Claim, Question
from pipeline.answers.measured import Measured
from pipeline.answers.sentences import short_sentences
from pipeline.answers.verdict import judge, outcome_of, where
from pipeline.config import compose
from pipeline.report import write_answers
from pipeline.search import axes_of
from pipeline.statistics import compare, holm, spread

A = np.array([0.91, 0.95, 0.93, 0.96, 0.90])
B = np.array([0.88, 0.94, 0.91, 0.90, 0.89])
CELLS = [(activation, depth) for activation in ("tanh", "relu") for depth in (1, 10)]


def test_spread_by_hand():
    found = spread([1.0, 2.0, 3.0, 4.0])
    assert (found.mean, found.count) == (2.5, 4)
    assert found.std == pytest.approx(math.sqrt(5 / 3))
    # t(0.975, 3) = 3.182446
    assert found.high - 2.5 == pytest.approx(3.182446 * math.sqrt(5 / 3) / 2, rel=1e-6)
    assert found.low + found.high == pytest.approx(5)


def test_the_test_is_the_paired_t_test_shifted_by_the_margin():
    found = compare(A, B, [0.0])
    expected = stats.ttest_rel(A, B)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-12)
    interval = expected.confidence_interval(0.95)
    assert (found.difference.low, found.difference.high) == pytest.approx((interval.low, interval.high))
    assert found.effect == pytest.approx((A - B).mean() / (A - B).std(ddof=1))
    assert compare(A, B, [0.05]).p == pytest.approx(stats.ttest_1samp(A - B, 0.05).pvalue, rel=1e-12)


def test_equivalence_is_two_one_sided_tests():
    below = stats.ttest_1samp(A - B, -0.1, alternative="greater").pvalue
    above = stats.ttest_1samp(A - B, 0.1, alternative="less").pvalue
    assert compare(A, B, [-0.1, 0.1]).p == pytest.approx(2 * max(below, above), rel=1e-9)


@pytest.mark.parametrize(
    ("a", "b", "bounds", "p", "effect"),
    [
        ([0.5, 0.75], [0.25, 0.5], [0.0], 0.0, math.inf),
        ([0.25, 0.5], [0.5, 0.75], [0.0], 0.0, -math.inf),
        ([0.5, 0.75], [0.25, 0.5], [0.25], 1.0, math.inf),  # on the margin itself
        ([0.5, 0.5], [0.5, 0.5], [0.0], 1.0, 0.0),
        ([0.5, 0.5], [0.5, 0.5], [-0.1, 0.1], 0.0, 0.0),
    ],
)
def test_differences_that_are_all_equal(a, b, bounds, p, effect):
    found = compare(a, b, bounds)
    assert (found.p, found.effect) == (p, effect)
    assert found.difference.low == found.difference.high == found.difference.mean


@pytest.mark.parametrize("values", [[], [0.5]])
def test_one_seed_tells_nothing(values):
    found = compare(values, values, [0.0])
    assert found.p == 1
    assert math.isnan(found.effect)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_keeps_the_order_and_only_raises(p):
    adjusted = holm(p)
    assert all(1 >= q >= raw for q, raw in zip(adjusted, p, strict=True))
    assert all(adjusted[i] <= adjusted[j] for i, j in itertools.permutations(range(len(p)), 2) if p[i] < p[j])


MORE = Claim("More.", ACCURACY, "a", "b", "more", 0.02)
SAME = Claim("Same.", ACCURACY, "a", "b", "same", 0.02)


@pytest.mark.parametrize(
    ("claim", "mean", "p", "expected"),
    [
        (MORE, 0.1, 0.01, "yes"),
        (MORE, 0.01, 0.01, "no"),
        (MORE, -0.1, 0.01, "no"),
        (MORE, 0.1, 0.05, "unclear"),
        (SAME, 0.01, 0.01, "yes"),
        (SAME, -0.01, 0.01, "yes"),
        (SAME, -0.1, 0.01, "no"),
        (SAME, 0.1, 0.01, "no"),
        (SAME, 0.0, 0.2, "unclear"),
    ],
)
def test_the_outcome_of_a_cell(claim, mean, p, expected):
    assert outcome_of(claim, compare([mean] * 5, [0] * 5, claim.bounds), p) == expected
    assert outcome_of(claim, compare([mean] * 4, [0] * 4, claim.bounds), p) == "unclear"


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [  # tanh at depth 1 and 10, relu at depth 1 and 10
        ("yes yes yes yes", "supported"),
        ("yes yes yes unclear", "supported; unclear for relu at depth 10"),
        ("no no no no", "refuted"),
        ("unclear no unclear no", "refuted; unclear for depth 1"),
        ("yes no yes no", "depends on depth"),
        ("yes unclear yes no", "depends on depth; unclear for tanh at depth 10"),
        ("yes yes no no", "depends on activation"),
        ("yes no no yes", "depends on activation and depth"),
        ("yes no no no", "depends on activation and depth"),
        ("yes unclear unclear unclear", "not settled"),
        ("unclear unclear unclear unclear", "not settled"),
    ],
)
def test_every_branch_of_the_verdict(outcomes, expected):
    assert judge(dict(zip(CELLS, outcomes.split(), strict=True))).label == expected


def test_a_verdict_on_nothing_is_not_settled():
    assert judge({}).label == "not settled"


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (CELLS, "everywhere"),
        ([("tanh", 1), ("relu", 1)], "depth 1"),
        ([("tanh", 1), ("tanh", 10)], "tanh"),
        ([("tanh", 1)], "tanh at depth 1"),
        ([("tanh", 1), ("relu", 1), ("relu", 10)], "depth 1; depth 10 with relu"),
        ([("tanh", 1), ("tanh", 10), ("relu", 10)], "depth 10; depth 1 with tanh"),
        ([("tanh", 1), ("relu", 10)], "tanh at depth 1; relu at depth 10"),
    ],
)
def test_cells_in_words(chosen, expected):
    assert where(chosen, CELLS) == expected


def made_up(values: dict[str, list[float]], cells=CELLS) -> Measured:
    """The same accuracies over seeds in every cell."""
    rows = [
        {"arm": arm, "activation": activation, "depth": depth, "seed": seed, ACCURACY: value}
        for (activation, depth) in cells
        for arm, accuracies in values.items()
        for seed, value in enumerate(accuracies)
    ]
    return Measured(pd.DataFrame(rows), list(values), 0.1)


def question(*claims: Claim, short="subject", subject="a") -> Question:
    return Question("q1", "Is it so?", (ACCURACY,), claims, subject, short)


def test_findings_correct_for_all_claims_and_cells():
    measured = made_up({"a": list(A), "b": list(B)})
    findings = _findings(question(MORE, SAME), measured)
    raw = [compare(A, B, claim.bounds).p for claim in (MORE, SAME) for _ in CELLS]
    assert [r.p for f in findings for r in f.results] == pytest.approx(holm(raw))
    for finding in findings:
        assert [r.cell for r in finding.results] == measured.cells


def test_pairs_are_of_the_same_seed_whatever_the_order():
    measured = made_up({"a": list(A), "b": list(B)}, CELLS[:1])
    shuffled = Measured(measured.networks.sample(frac=1, random_state=0), measured.arms, 0.1)
    assert shuffled.compare(CELLS[0], MORE) == measured.compare(CELLS[0], MORE)
    assert shuffled.compare(CELLS[0], MORE).p == compare(A, B, [0.02]).p


def test_networks_without_a_value_lose_their_pair():
    measured = made_up({"a": [0.5, math.nan, 0.7, 0.8], "b": [0.4, 0.5, math.inf, 0.6]}, CELLS[:1])
    found = measured.compare(CELLS[0], MORE)
    assert found.difference.count == 2
    assert found.difference.mean == pytest.approx(0.15)


def test_a_claim_against_guessing():
    claim = Claim("Learns.", ACCURACY, "a", None, "more", 0.1)
    found = made_up({"a": list(A)}).compare(CELLS[0], claim)
    assert found.difference.mean == pytest.approx(A.mean() - 0.1)
    assert claim.contrast == "Test accuracy of a minus that of guessing"


def test_claims_on_arms_that_were_not_trained_are_left_out():
    other = Claim("Other.", ACCURACY, "a", "none such", "more", 0.02)
    findings = _findings(question(MORE, other), made_up({"a": list(A), "b": list(B)}))
    assert [f.claim for f in findings] == [MORE]


def test_sentences_hold_the_numbers():
    measured = made_up({"a": [0.9, 0.94], "b": [0.5, 0.5]})
    (finding,) = _findings(question(MORE), measured)
    assert finding.verdict == "not settled"  # by two seeds
    assert finding.sentence.startswith("Test accuracy of a minus that of b: ")
    assert "(+0.420)" in finding.sentence
    first, *_, last = short_sentences(question(MORE), measured)
    assert first.startswith("tanh, a: test accuracy 0.920 [0.666, 1.174] at depth 1, ")
    assert "(b: 0.500, 0.500)" in first
    assert last == "Always guessing the commonest class scores 0.100."
    (refuted,) = _findings(question(MORE), made_up({"a": [0.5] * 5, "b": [0.5] * 5}))
    assert refuted.sentence.endswith(": it holds nowhere (+0.000).")
    best = short_sentences(question(MORE, short="best", subject="b"), measured)[0]
    assert "at depth 10 the best is a with 0.920 (b 0.500, worst b 0.500)" in best


def test_cells_in_which_nothing_learns_are_named():
    last = short_sentences(question(MORE), made_up({"a": [0.12, 0.1], "b": [0.1, 0.1]}))[-1]
    assert last.endswith("No arm learns anywhere (best 0.110).")
    (finding,) = _findings(question(MORE), made_up({"a": [0.1] * 5, "b": [0.1] * 5}))
    assert finding.verdict == "not settled; nothing learns anywhere"
    assert finding.results == []


def test_a_cell_in_which_nothing_learns_decides_nothing():
    measured = made_up({"a": [0.9] * 5, "b": [0.5] * 5})
    networks = measured.networks.copy()
    networks.loc[networks["depth"] == 10, ACCURACY] = 0.1
    (finding,) = _findings(question(MORE), replace(measured, networks=networks))
    assert finding.verdict == "supported; nothing learns for depth 10"
    assert {result.cell[1] for result in finding.results} == {1}


@pytest.mark.parametrize("name", QUESTIONS)
def test_claims_are_about_arms_of_the_experiment(name):
    asked = QUESTIONS[name]
    config = compose([f"experiment={name}"])
    axes = {axis.key: axis for axis in axes_of(config)}
    arms = {str(choice) for choice in axes[asked.arms].choices}
    named = {arm for claim in asked.claims for arm in (claim.a, claim.b) if arm is not None}
    assert {asked.subject} | named <= arms
    assert config.study.question == name
    assert config.search.replicates >= 10
    assert set(axes["model.activation"].choices) == {"tanh", "sigmoid", "relu"}
    assert set(axes["model.depth"].choices) == {1, 3, 10}
    assert config.search.confirm == 0


def hostile() -> Answer:
    arm = '<script>alert("x")</script> | **b** $\\nothing$'
    measured = made_up({arm: [0.9, 0.94], "_b": [0.5, 0.6]})
    asked = question(Claim("Is it?", ACCURACY, arm, "_b", "more", 0.02), subject=arm)
    found = _findings(asked, measured)
    return Answer(asked, "<b>study</b>", "digits", 2, 3, measured, found, short_sentences(asked, measured))


def test_pages_escape_hostile_names(quick, home):
    page, markdown = write_answers(quick("report.answers=out"), [hostile()])
    assert (home / "out/answers/q1.png").read_bytes().startswith(b"\x89PNG")
    html, text = (home / page).read_text(), (home / markdown).read_text()
    for written in (html, text):
        assert "<script" not in written
        assert "<b>" not in written
    assert "&lt;script&gt;" in html
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert not any("**b**" in line for line in rows)
    assert all(len(re.findall(r"(?<!\\)\|", line)) == 4 for line in rows[:3])
    assert not re.findall(r"https?://", html)
    assert re.findall(r'src="(data:image/png;base64,)', html)


def test_rules_are_on_both_pages(quick, home):
    page, markdown = write_answers(quick("report.answers=out"), [hostile()])
    assert all(rule.replace("'", "&#39;") in (home / page).read_text() for rule in RULES)
    assert "How a verdict comes about" in (home / markdown).read_text()


def test_pictures_are_the_same_every_time():
    assert picture(hostile()) == picture(hostile())


def test_the_configuration_knows_the_questions():
    assert compose([]).report.questions == [*QUESTIONS, VERDICT]
