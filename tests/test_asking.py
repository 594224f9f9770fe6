"""What a trial is suggested from: results a fixed number of trials back, whenever they were told."""

import random

import optuna
import pytest
from optuna.samplers import GPSampler, TPESampler
from optuna.trial import TrialState, create_trial
from test_search import made_up

from pipeline.search import Search
from pipeline.seeds import stream_seed

SAMPLERS = ["tpe", "random", "qmc", "grid", pytest.param("gp", marks=pytest.mark.slow)]
COUNT, LAG = 18, 4  # TPE and GP begin to model after 10 results


@pytest.fixture
def study(quick):
    """Composes a study of ``COUNT`` trials, ``LAG`` under way at once."""
    return lambda *more: quick("study.name=a", f"search.n_trials={COUNT}", f"search.batch={LAG}", *more)


def drive(search: Search, at_once: int, order: random.Random | None = None, until: int = COUNT) -> dict[int, dict]:
    """Keeps up to ``at_once`` trials under way; tells one after the other, the first or any."""
    seen, under_way = {}, []
    while search.done < until:
        under_way += search.ask(at_once - len(under_way))
        seen |= {asked.number: asked.values for asked in under_way}
        asked = under_way.pop(order.randrange(len(under_way)) if order else 0)
        search.tell(asked.number, made_up(asked.values))
    return seen


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_suggestions_do_not_depend_on_when_results_are_told(study, sampler):
    ways = [(1, None), (LAG, None), (LAG, random.Random(0)), (2, random.Random(2))]
    found = []
    for i, (at_once, order) in enumerate(ways):
        search = Search(study(f"search={sampler}", f"study.name=way{i}"))
        found.append(drive(search, at_once, order))
    assert sorted(found[0]) == list(range(COUNT))
    assert all(other == found[0] for other in found[1:])


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("orderly", [True, False])
def test_suggestions_survive_interruptions(study, sampler, orderly):
    whole = drive(Search(study(f"search={sampler}", "study.name=whole")), LAG)
    parts = {}
    for stop in (5, 15, COUNT):
        search = Search(study(f"search={sampler}"))
        parts |= drive(search, LAG, random.Random(stop), until=stop)
        if orderly:
            search.abandon()
        search.close()  # and else: the process died, with trials running
    assert parts == whole
    search = Search(study(f"search={sampler}"))
    assert [t.number for t in search.finished] == list(range(COUNT))
    assert not search.ready()
    assert search.ask(3) == []


@pytest.mark.parametrize(("sampler", "kind"), [("tpe", TPESampler), ("gp", GPSampler)])
def test_a_suggestion_is_that_of_the_sampler_on_what_it_may_see(study, sampler, kind):
    """Oracle: Optuna's own ``ask`` of a new study that holds the earlier trials as they may be seen."""
    search = Search(study(f"search={sampler}"))
    drive(search, LAG, random.Random(3))
    trials = search.finished
    for k in (2, 14, COUNT - 1):
        seed = stream_seed(0, f"sampler {k}") % 2**32
        seen = optuna.create_study(direction="maximize", sampler=kind(seed=seed))
        for t in trials[:k]:
            told = {"state": t.state, "value": t.value} if t.number <= k - LAG else {"state": TrialState.RUNNING}
            seen.add_trial(create_trial(params=t.params, distributions=t.distributions, **told))
        assert seen.ask(trials[k].distributions).params == trials[k].params


def test_a_trial_waits_for_the_results_it_rests_on(study):
    search = Search(study())
    first = search.ask(COUNT)
    assert [asked.number for asked in first] == list(range(LAG))
    for asked in first[1:]:
        search.tell(asked.number, made_up(asked.values))
        assert not search.ready()
        assert search.ask(1) == []
    search.tell(0, made_up(first[0].values))
    assert search.ready()
    assert [asked.number for asked in search.ask(COUNT)] == list(range(LAG, 2 * LAG))


def test_a_trial_that_was_cut_off_is_given_again_before_any_new_one(study):
    search = Search(study())
    first = search.ask(LAG)
    for number in (0, 3):
        search.tell(number, made_up(first[number].values))
    search.abandon()
    assert search.ask(3)[:2] == [first[1], first[2]]


def test_a_first_point_may_leave_axes_to_the_sampler(study):
    for sampler in ("tpe", "qmc"):
        config = study(f"search={sampler}", f"study.name={sampler}", "search.enqueue=[{weight_init.scale: 0.5}]")
        seen = drive(Search(config), LAG)
        assert seen[0]["weight_init.scale"] == 0.5
        assert seen[0]["bias_init.value"] != 0


def test_an_axis_of_one_value_is_searched_beside_others(study):
    config = study("search.space.bias_init.value={low: 0.5, high: 0.5}", "search.enqueue=[]")
    assert {values["bias_init.value"] for values in drive(Search(config), LAG).values()} == {0.5}
