"""Predicted width against the functional width after 200 float64 steps, over random ties.

The property holds as far as functional width can see. It merges neurons whose activations
correlate to 1e-5, so it takes two that are near-affine functions of one another for copies,
and what differs by less than 0.5 % for equal. The regime is therefore one in which units
bend and distinct classes differ visibly: the W h of each neuron has a root mean square of
1 to 2.5 over the data (twice that for the sigmoid, which bends at twice the z), biases a
standard deviation of 1 (2), values of different classes are stratified draws, the targets
are ten classes (with three, activations collapse to three points), and Adam moves
parameters far enough in 200 steps that ties broken by columns alone show.

Outside it the bound holds, but is reached less often. Measured on 150 ties of Glorot's
variance with small biases: 82 % under SGD (``random_ties.GLOROT_SGD``), 90 % under Adam
(``GLOROT_ADAM``). Under SGD every tanh network went as predicted; what fails is sigmoid
at depths 3 and 4, where signals and gradients vanish.
"""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import random_ties as rt

from pipeline.clock import run_arms
from pipeline.dataset import Dataset
from pipeline.models import MLP

pytestmark = pytest.mark.slow


# Trained a second time, in exact arithmetic as it were.
EXACT = 200


def check_exact(outcome: rt.Outcome, x: np.ndarray) -> None:
    """What must hold of every case when gradients break no tie."""
    assert not outcome.exceeds, outcome.case
    assert outcome.record.final["symmetry/lasting_break"] == -1, outcome.case
    symmetry = outcome.symmetry
    found = rt.activations(outcome.case, outcome.record.state, x)
    for h, classes, signs in zip(found, symmetry.classes, symmetry.signs, strict=True):
        _, first, of = np.unique(classes, return_index=True, return_inverse=True)
        np.testing.assert_allclose(h * signs, (h * signs)[:, first][:, of], atol=1e-6 * np.abs(h).max(), rtol=0)


def check_round_off(outcome: rt.Outcome, data: Dataset, regime: rt.Regime) -> None:
    """That round-off alone broke the ties of a case, by the arms of the clock."""
    case, bound = outcome.case, outcome.record.init["symmetry/predicted_width"]
    module = MLP(data.input_shape, data.n_classes, case.depth, case.width, case.activation)
    arms = run_arms(module, data, outcome.member, replace(rt.plan_for(data, regime), keep_state=False))
    print({name: (arm.lasting_break, round(arm.functional_width, 3)) for name, arm in arms.items()}, "bound", bound)
    assert arms["exact"].lasting_break == -1, case
    assert arms["exact"].functional_width <= bound + 1e-9, case
    assert arms["float64"].lasting_break >= 1, case
    assert outcome.record.final["symmetry/lasting_break"] >= 1, case


def report(outcomes: list[rt.Outcome]) -> tuple[float, list[rt.Outcome]]:
    """The share that went as predicted among those that round-off left alone, and those that it didn't."""
    broken = [outcome for outcome in outcomes if outcome.exceeds]
    hits = sum(outcome.widths == outcome.symmetry.widths for outcome in outcomes)
    rate = hits / (len(outcomes) - len(broken))
    print(f"\n{len(outcomes)} ties, {len(broken)} broken by round-off alone; of the others as predicted: {rate:.3f}")
    print("predicted widths:", dict(sorted(Counter(w for o in outcomes for w in o.symmetry.widths).items())))
    return rate, broken


def test_predicted_width_is_measured_after_training(digits):
    data, cases = rt.small(digits), rt.draw_cases(500, with_seed=0)
    assert len(set(cases)) == 500
    outcomes = rt.train_cases(cases, data, rt.BENDING)
    for outcome in outcomes:
        share = sum(outcome.symmetry.widths) / (outcome.case.depth * outcome.case.width)
        assert outcome.record.init["symmetry/predicted_width"] == pytest.approx(share, abs=1e-12)
    rate, broken = report(outcomes)
    for outcome in broken[:3]:
        check_round_off(outcome, data, rt.BENDING)
    assert len(broken) <= 10
    assert rate >= 0.98
    # The sample is one of ties, not of distinct neurons.
    assert sum(min(o.symmetry.widths) < o.case.width for o in outcomes) > 300
    for outcome in rt.train_cases(cases[:EXACT], data, rt.BENDING, keep_ties=True):
        check_exact(outcome, data.x_train.numpy())


def test_what_round_off_broke_is_told_apart(digits):
    """With steps three times as long, the symmetric path is unstable enough for round-off to show."""
    data, regime = rt.small(digits), replace(rt.BENDING, lr={"tanh": 0.02, "sigmoid": 0.05})
    shallow = [case for case in rt.draw_cases(150, with_seed=1) if case.depth == 1]
    _, broken = report(rt.train_cases(shallow, data, regime))
    for outcome in broken[:2]:
        check_round_off(outcome, data, regime)
    if not broken:
        pytest.skip("on this processor round-off breaks no tie of these cases")
