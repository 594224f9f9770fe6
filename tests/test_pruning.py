"""Pruning: decided by trial numbers alone, as the papers' rules say."""

import numpy as np
import pytest
from optuna.trial import TrialState, create_trial

from pipeline.config import compose
from pipeline.records import Verdict
from pipeline.search.ledger import Ledger
from pipeline.search.pruning import Pruning
from pipeline.search.stops import stops_of


def ledger(count, states=None, lag=4, values=None, history=500):
    made = Ledger([], minimize=False, lag=lag, history=history)
    for i in range(count):
        state = (states or {}).get(i, TrialState.RUNNING)
        complete = state == TrialState.COMPLETE
        trial = create_trial(
            state=state,
            value=values[i][max(values[i])] if complete else None,
            intermediate_values=(values or {}).get(i, {}),
        )
        trial.number = i
        made.put(trial)
    return made


def pruning(of, *overrides):
    return Pruning(compose([*overrides]), of, minimize=False)


def halts(*overrides):
    return [(stop.replicates, stop.epoch, stop.step) for stop in stops_of(compose([*overrides]))]


def test_the_first_replicate_runs_ahead():
    assert halts() == [((0, 1, 2), 20, 60)]
    assert halts("search.pruner=halving") == [((0,), 10, 10), ((0,), 20, 20), ((1, 2), 20, 60)]
    assert halts("search.pruner=halving") == halts("search.pruner=median")
    assert halts("search.pruner=halving", "search.min_epochs=2", "search.reduction=2", "search.replicates=6") == [
        *(((0,), epoch, epoch) for epoch in (2, 4, 8, 16, 20)),
        ((1,), 20, 40),
        ((2, 3), 20, 80),
        ((4, 5), 20, 120),
    ]
    assert halts("search.pruner=halving", "trainer.epochs=5") == [((0,), 5, 5), ((1, 2), 5, 15)]
    assert halts("search.pruner=halving", "search.replicates=1") == [((0,), 10, 10), ((0,), 20, 20)]
    assert halts("search.pruner=wilcoxon") == [((i,), 20, i) for i in range(3)]
    assert halts("search.preflight=prune") == [((), 0, 0), ((0, 1, 2), 20, 60)]


def at(found, step):
    return next(stop for stop in found.stops if stop.step == step)


@pytest.mark.parametrize("step", [10, 20])
def test_halving_keeps_one_of_three_of_those_before_it(step):
    """Against the rule of Li et al. 2020 (asynchronous successive halving), trial by trial."""
    values = np.random.default_rng(0).random(40)
    found = pruning(ledger(40), "search.pruner=halving")
    for number, value in enumerate(values):
        for earlier in (10, 20):
            found.report(number, earlier, value if earlier == step else 1 - value)
    for number in range(40):
        rivals = sorted(values[: number + 1], reverse=True)
        kept = values[number] >= rivals[max(len(rivals) // 3 - 1, 0)]
        found._values[number] = {reached: found._values[number][reached] for reached in (10, 20) if reached <= step}
        assert bool(found.reason(number, at(found, step))) != kept


def test_of_many_rivals_the_latest_count():
    values = np.random.default_rng(1).random(90)
    found = pruning(ledger(90, history=20), "search.pruner=halving")
    for number in np.random.default_rng(2).permutation(90):
        found.report(int(number), 10, values[number])
    for number, value in enumerate(values):
        rivals = sorted(values[max(number - 20, 0) : number + 1], reverse=True)
        assert bool(found.reason(number, at(found, 10))) == (value < rivals[max(len(rivals) // 3 - 1, 0)])


def test_halving_waits_for_lower_numbers_and_no_others():
    made = ledger(5)
    found = pruning(made, "search.pruner=halving")
    first = at(found, 10)
    found.report(3, 10, 0.9)
    found.report(0, 10, 0.5)
    assert found.can_judge(0, first)
    assert not found.can_judge(3, first)
    found.report(1, 10, 0.6)
    ended = create_trial(state=TrialState.PRUNED)
    ended.number = 2
    made.put(ended)  # called hopeless: it will never reach the rung
    assert found.can_judge(3, first)
    assert found.reason(1, first) == ""
    assert found.reason(0, first) == ""  # the first is the best of one
    found.report(4, 10, 0.55)
    assert "epoch 10 of one replicate by halving" in found.reason(4, first)
    assert found.can_judge(0, at(found, 20))
    assert not found.can_judge(1, at(found, 20))  # 0 is on its way there


def verdict(score, *, hopeless=False, certain=True):
    return Verdict(score, "a reason", hopeless, certain)


def test_what_the_verdict_calls_far_worse_than_the_best_before_is_not_trained():
    found = pruning(ledger(6), "search.preflight=prune")
    given = [verdict(0.01, hopeless=True), verdict(0.7), verdict(0.99, certain=False), verdict(0.95), verdict(0.7)]
    first = found.stops[0]
    for number in (4, 1, 0, 3):
        found.judged(number, given[number])
    assert found.can_judge(1, first)
    assert not found.can_judge(4, first)  # 2 may be better
    found.judged(2, given[2])
    assert found.can_judge(4, first)
    said = [found.unworthy(number, of) for number, of in enumerate(given)]
    assert said[0] == "not trained: a reason"
    assert said[1:4] == ["", "", ""]  # by the best that came before, of which the uncertain one is none
    assert said[4] == "not trained: its score 0.70 is below 0.8 of the best so far, 0.95"


def test_how_far_is_a_key():
    for share, stopped in ((0.0, False), (0.5, False), (1.0, True)):
        found = pruning(ledger(2), "search.preflight=prune", f"search.min_verdict={share}")
        found.judged(0, verdict(0.9))
        found.judged(1, verdict(0.6))
        assert bool(found.unworthy(1, verdict(0.6))) == stopped


def test_the_median_is_that_of_the_results_a_trial_was_suggested_from():
    values = {i: {10: i / 10, 20: i / 10} for i in range(12)}
    states = dict.fromkeys(range(12), TrialState.COMPLETE)
    made = ledger(12, states, lag=4, values=values)
    trial = create_trial(state=TrialState.RUNNING)
    trial.number = 12
    made.put(trial)
    found = pruning(made, "search.pruner=median")
    visible = [values[i][10] for i in range(12 - 4 + 1)]
    for value in (np.median(visible) - 0.01, np.median(visible) + 0.01):
        found.report(12, 10, value)
        assert bool(found.reason(12, at(found, 10))) == (value < np.median(visible))


def test_wilcoxon_compares_replicates_with_those_of_the_best():
    values = {0: {i: 0.9 + i / 100 for i in range(8)}}
    made = ledger(1, {0: TrialState.COMPLETE}, lag=1, values=values)
    for number in (1, 2):
        trial = create_trial(state=TrialState.RUNNING)
        trial.number = number
        made.put(trial)
    found = pruning(made, "search.pruner=wilcoxon", "search.replicates=8")
    for step in range(5):
        found.report(1, step, 0.5)
        found.report(2, step, values[0][step] + (-1) ** step / 1000)
    assert "replicate 5 by wilcoxon" in found.reason(1, at(found, 4))
    assert found.reason(2, at(found, 4)) == ""
