"""Which trials a suggestion rests on in a study of thousands, against a count of all."""

import random

import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

from pipeline.search.ledger import BEST, LATEST, Ledger

LAG, HISTORY = 7, 120


def trial(number: int, state: TrialState, value: float | None = None, steps: int = 0) -> FrozenTrial:
    made = create_trial(
        state=state, value=value, params={"x": 0.5}, distributions={"x": FloatDistribution(0, 1)},
        intermediate_values=dict.fromkeys(range(1, steps + 1), value),
    )  # fmt: skip
    made.number = number
    return made


def trials(count: int, seed: int) -> list[FrozenTrial]:
    """Complete and pruned ones; few values, so that many are equal."""
    rng = random.Random(seed)
    made = []
    for number in range(count):
        value, fate = rng.randrange(40) / 40, rng.random()
        if fate < 0.6:
            made.append(trial(number, TrialState.COMPLETE, value))
        else:
            made.append(
                trial(number, TrialState.PRUNED, value if fate < 0.9 else None, rng.randrange(1, 5) * (fate < 0.9))
            )
    return made


def told(ended: list[FrozenTrial], minimize: bool = False, order: random.Random | None = None) -> list[list[int]]:
    """Puts trials as they are asked and told; returns the numbers that each was suggested from."""
    ledger = Ledger([], minimize, LAG, HISTORY)
    seen, running = [], []
    while ledger.done < len(ended):
        while ledger.ready and len(ledger) < len(ended):
            seen.append(ledger.seen())
            running.append(len(ledger))
            ledger.put(trial(len(ledger), TrialState.RUNNING))
        ledger.put(ended[running.pop(order.randrange(len(running)) if order else 0)])
    return [[(t.number, t.state) for t in shown] for shown in seen]


@pytest.mark.parametrize("minimize", [False, True])
def test_the_best_and_the_latest_are_always_seen(minimize):
    ended = trials(600, 1)
    sign = 1 if minimize else -1
    for k, shown in enumerate(told(ended, minimize)):
        visible = max(k - max(LAG, min(k // 4, 4 * LAG)) + 1, 0)
        results = [number for number, state in shown if state != TrialState.RUNNING]
        assert [n for n, state in shown if state == TrialState.RUNNING] == list(range(visible, k))
        assert results == sorted(set(results))
        if visible <= HISTORY:
            assert results == list(range(visible))
            continue
        assert HISTORY - BEST - LATEST <= len(results) <= HISTORY
        complete = [t for t in ended[:visible] if t.state == TrialState.COMPLETE]
        best = sorted(complete, key=lambda t: (sign * t.value, t.number))[:BEST]
        assert {t.number for t in best} <= set(results)
        assert set(range(visible - LATEST, visible)) <= set(results)
        gaps = [b - a for a, b in zip([-1, *results], results, strict=False)]
        assert max(gaps) <= visible / (HISTORY - BEST - LATEST - 1) + 2


def test_what_is_seen_does_not_depend_on_the_order_of_telling():
    ended = trials(400, 2)
    assert told(ended) == told(ended, order=random.Random(5))


def test_pruned_trials_that_came_far_are_the_best_where_none_is_complete():
    ended = [trial(n, TrialState.PRUNED, 0.5, 1) for n in range(400)]
    far = [31, 57, 112]
    for number in far:
        ended[number] = trial(number, TrialState.PRUNED, 0.1, 9)
    ledger = Ledger(ended, False, 1, HISTORY)
    assert set(far) <= {t.number for t in ledger.seen()}


@pytest.mark.parametrize("minimize", [False, True])
def test_done_and_best_are_those_of_a_count(minimize):
    ended = trials(300, 3)
    ledger = Ledger([], minimize, len(ended), HISTORY)
    for t in ended:
        ledger.put(trial(t.number, TrialState.RUNNING))
    assert ledger.best is None
    for count, t in enumerate(random.Random(1).sample(ended, len(ended)), 1):
        ledger.put(t)
        assert ledger.done == count
    complete = [t for t in ended if t.state == TrialState.COMPLETE]
    best = (min if minimize else max)(t.value for t in complete)
    assert ledger.best is next(t for t in complete if t.value == best)
    assert ledger.results == ended


@pytest.mark.parametrize("minimize", [False, True])
def test_the_best_and_the_complete_below_a_number_are_those_of_a_count(minimize):
    ended = trials(400, 4)
    ledger = Ledger(ended, minimize, LAG, HISTORY)
    for number in (0, 1, 50, 399, 200, 400):
        complete = [t for t in ended[:number] if t.state == TrialState.COMPLETE]
        assert ledger.complete_before(number) == complete[-HISTORY:]
        best = min(complete, key=lambda t: (t.value if minimize else -t.value, t.number), default=None)
        assert ledger.best_before(number) is best


def test_a_trial_that_failed_is_over_and_not_seen():
    ended = [trial(0, TrialState.FAIL), trial(1, TrialState.COMPLETE, 1.0)]
    ledger = Ledger(ended, False, 1, HISTORY)
    assert ledger.ready
    assert [t.number for t in ledger.seen()] == [1]
    assert ledger.done == 1
