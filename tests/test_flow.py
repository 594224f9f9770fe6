"""A study under way: the same on any number of cores, interrupted or not, and trials that are stopped."""

import json

import pytest
from optuna.trial import TrialState, create_trial

from pipeline.config import compose
from pipeline.errors import UsageError
from pipeline.flow import Flow, Modes, train_again
from pipeline.pool import Pool
from pipeline.runner import Job
from pipeline.search import Search

FLOW = [
    "trainer.epochs=10",
    "search.min_epochs=4",
    "search.reduction=2",
    "search.n_trials=14",
    "search.replicates=2",
    "search.batch=6",
    "model.width=8",
    "probes=light",
]


def run(folder, *overrides):
    """A study without MLflow: the trials as they were told."""
    search = Search(compose([*FLOW, f"tracking.dir={folder}", "study.name=flow", *overrides]))
    told = {}
    try:
        with Pool(search.config.trainer.workers or 2, device=search.config.device) as pool:
            Flow(
                search,
                Modes(search),
                pool,
                lambda asked, record, _: told.update({asked.number: record}),
                lambda _: None,
            ).run()
    finally:
        search.close()
    return search, told


def summary(search):
    return [
        (t.number, t.state.name, t.values, t.params, t.intermediate_values, t.user_attrs.get("pruned"))
        for t in search.finished
    ]


@pytest.mark.parametrize("pruner", ["none", "halving", "median", "wilcoxon", "verdict", "loss"])
def test_a_study_is_the_same_on_any_number_of_threads(pruner, tmp_path):
    extra = {
        "wilcoxon": "search.replicates=5",
        "verdict": "search.preflight=prune",
        "loss": "search.objective=val/loss",
    }
    more = [extra[pruner]] if pruner in extra else []
    pruner = "halving" if pruner in ("verdict", "loss") else pruner
    first, told = run(tmp_path / "a", f"search.pruner={pruner}", "trainer.workers=1", *more)
    second, again = run(tmp_path / "b", f"search.pruner={pruner}", "trainer.workers=3", "trainer.stack_size=4", *more)
    assert summary(first) == summary(second)
    assert len(told) == len(again) == 14
    for number, record in told.items():
        pairs = list(zip(record.members, again[number].members, strict=True))
        assert all(repr((a.final, a.curves, a.init)) == repr((b.final, b.curves, b.init)) for a, b in pairs)
    pruned = [t for t in first.finished if t.state == TrialState.PRUNED]
    assert bool(pruned) == (pruner != "none")
    reasons = " ".join(trial.user_attrs["pruned"] for trial in pruned)
    assert ("not trained: its score" in reasons) == ("search.preflight=prune" in more)
    for trial in [*pruned[:3], *[trial for trial in pruned if trial.last_step is not None][:1]]:
        record, repeated = told[trial.number], train_again(first, trial, Modes(first))
        assert record.reason == repeated.reason == trial.user_attrs["pruned"]
        assert len(record.members) == len(repeated.members) == (trial.last_step is not None) * len(record.members)
        if not record.members:
            continue
        pairs = list(zip(record.members, repeated.members, strict=True))
        assert all(a.final == b.final and a.curves == b.curves for a, b in pairs)
        epochs = 10 if pruner == "wilcoxon" else min(trial.last_step, 10)
        assert max(record.members[0].curves["val/loss"]) == epochs * 16


@pytest.mark.parametrize("preflight", ["log", "prune"])
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(preflight, tmp_path):
    class StopError(Exception):
        pass

    more = ["search.pruner=halving", f"search.preflight={preflight}"]
    whole, _ = run(tmp_path / "a", *more)
    config = compose([*FLOW, f"tracking.dir={tmp_path / 'b'}", "study.name=flow", *more])
    for limit in (3, 4):
        search, count = Search(config), []

        def stop(asked, record, started, count=count, limit=limit):
            count.append(asked)
            if len(count) == limit:
                raise StopError

        with Pool(2) as pool, pytest.raises(StopError):
            Flow(search, Modes(search), pool, stop, lambda _: None).run()
        search.abandon()
        search.close()
    rest, _ = run(tmp_path / "b", *more)
    assert summary(rest) == summary(whole)


def test_what_another_worker_has_settled_is_kept(tmp_path):
    config = compose([*FLOW, f"tracking.dir={tmp_path}", "study.name=flow"])
    first, second = Search(config), Search(config)
    earlier, later, job = Modes(first), Modes(second), Job(config, 0)
    assert earlier.kept(job) is None
    settled = later.of(job)
    assert earlier.kept(job) == settled.mode
    assert earlier.of(job) == settled
    for search in (first, second):
        search.close()


def test_who_only_leads_leaves_the_stacks_to_the_others(tmp_path):
    config = compose([*FLOW, f"tracking.dir={tmp_path}", "study.name=flow", "search.batch=24"])
    leader = Search(config)
    leader.workers.lead()
    worker = Search(config)
    assert worker.others == {leader.workers.own}
    assert worker.trainers == 1
    for search in (leader, worker):
        search.close()


def test_a_study_keeps_its_mode(tmp_path):
    first, told = run(tmp_path, "trainer.execution=loop", "search.n_trials=3")
    assert {m.execution for record in told.values() for m in record.members} == {"loop"}
    (mode,) = first.modes.values()
    assert mode == "loop"


def test_epochs_can_be_searched_where_no_rung_compares_them(tmp_path):
    axis = "+search.space.trainer.epochs.choices=[2,4]"
    search, told = run(tmp_path, axis, "search.n_trials=6")
    for trial in search.finished:
        (values,) = {max(member.curves["val/loss"]) for member in told[trial.number].members}
        assert values == 16 * trial.user_attrs["values"]["trainer.epochs"]
        again = train_again(search, trial, Modes(search))
        assert [m.final for m in again.members] == [m.final for m in told[trial.number].members]
    with pytest.raises(UsageError, match=r"can't be searched with search\.pruner=halving"):
        Search(compose([*FLOW, axis, "search.pruner=halving", f"tracking.dir={tmp_path / 'b'}"]))


@pytest.mark.parametrize(
    "overrides",
    [
        ["search.pruner=halving", "search.replicates=1", "trainer.epochs=3"],
        ["search.pruner=wilcoxon", "search.replicates=1"],
    ],
)
def test_a_pruner_without_a_say_is_named(overrides, tmp_path):
    with pytest.raises(UsageError, match=r"its end here: raise search\.replicates"):
        Search(compose([*FLOW, *overrides, f"tracking.dir={tmp_path}"]))
    assert not list(tmp_path.iterdir())


def test_a_trial_that_others_called_failed_holds_nobody_up(tmp_path):
    more = ["search.preflight=prune", "search.n_trials=6"]
    search = Search(compose([*FLOW, f"tracking.dir={tmp_path}", "study.name=flow", *more]))
    search.storage.create_new_trial(search._id, create_trial(state=TrialState.FAIL))
    search.close()
    search, told = run(tmp_path, *more)
    assert search.done == len(told) == 6
    assert 0 not in told


def test_studies_from_before_a_key_that_has_no_say_go_on(tmp_path):
    of = [*FLOW, f"tracking.dir={tmp_path}", "study.name=flow"]
    search = Search(compose(of))
    stored = json.loads(search.storage.get_study_user_attrs(search._id)["config"])
    del stored["search.min_verdict"]
    search.storage.set_study_user_attr(search._id, "config", json.dumps(stored | {"search.min_epochs": 1}))
    search.close()
    Search(compose(of)).close()
    with pytest.raises(UsageError, match="begun with"):
        Search(compose([*of, "search.preflight=prune"]))
