import math

import pytest
from optuna.trial import TrialState

from pipeline.config import compose
from pipeline.errors import RunError, UsageError
from pipeline.records import MemberRecord, TrialRecord
from pipeline.search import Search, axes_of, studies, study_name
from pipeline.search.space import Axis


def made_up(values) -> TrialRecord:
    """A record whose accuracy is a smooth function of the values: no training in these tests."""
    score = math.exp(-abs(math.log10(values["weight_init.scale"] + 1e-4))) - 0.1 * abs(values["bias_init.value"])
    return TrialRecord([MemberRecord(0, final={"val/accuracy": score, "val/loss": -score})])


def run(config, count: int, batch: int = 5) -> list[dict]:
    search = Search(config)
    seen = []
    while search.done < count:
        asked_for = search.ask(min(batch, count - search.done))
        assert asked_for
        for asked in asked_for:
            seen.append(asked.values)
            search.tell(asked.number, made_up(asked.values))
    search.close()
    return seen


@pytest.mark.parametrize("sampler", ["random", "qmc", "grid"])
def test_a_study_of_10_is_the_beginning_of_one_of_25(quick, sampler):
    short = run(quick(f"search={sampler}", "study.name=a", "search.n_trials=10"), 10)
    long = run(quick(f"search={sampler}", "study.name=b", "search.n_trials=25"), 25)
    assert short == long[:10]


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "gp", "grid"])
def test_every_sampler_searches_within_the_space(quick, sampler):
    seen = run(quick(f"search={sampler}", "study.name=a"), 24)
    assert len(seen) == 24
    for values in seen:
        assert values["weight_init.scale"] == 0 or 1e-3 <= values["weight_init.scale"] <= 10
        assert -2 <= values["bias_init.value"] <= 2
    assert len({tuple(v.values()) for v in seen}) == 24


def test_the_same_seed_gives_the_same_search_and_another_does_not(quick):
    a, b, c = (run(quick(f"study.name={n}", f"seed={s}"), 15) for n, s in (("a", 0), ("b", 0), ("c", 1)))
    assert a == b != c


def test_stopping_and_resuming_changes_nothing_for_random(quick):
    whole = run(quick("search=random", "study.name=whole"), 20)
    config = quick("search=random", "study.name=parts")
    parts = run(config, 7)
    cut_off = [asked.values for asked in Search(config).ask(5)]  # a process that dies here
    parts += run(config, 20)
    assert whole[7:12] == cut_off
    assert parts == whole
    (status,) = [s for s in studies(config) if s.name == "parts"]
    assert status.trials == {"RUNNING": 0, "COMPLETE": 20, "PRUNED": 0, "FAIL": 0, "WAITING": 0}


def test_abandoned_trials_are_given_again(quick):
    search = Search(quick("study.name=a"))
    first = [asked.values for asked in search.ask(3)]
    search.abandon()
    assert [asked.values for asked in search.ask(3)] == first


def test_exact_zero_is_drawn_about_as_often_as_its_share(quick):
    seen = run(quick("search=random", "study.name=a", "search.enqueue=[]", "search.n_trials=300"), 300)
    zeros = sum(v["weight_init.scale"] == 0 for v in seen)
    assert 12 <= zeros <= 50  # 30 expected, sd 5.2
    logs = [math.log10(v["weight_init.scale"]) for v in seen if v["weight_init.scale"]]
    assert sum(x < -1 for x in logs) / len(logs) == pytest.approx(0.5, abs=0.12)


def test_the_first_points_are_the_reference_ones(quick):
    seen = run(quick("study.name=a"), 2)
    assert seen == [{"weight_init.scale": s, "bias_init.value": 0.0} for s in (0.0, 1.0)]


def test_a_grid_visits_each_point_once_and_ends(quick):
    config = quick("search=grid", "search.grid_points=3", "study.name=a")
    assert Search(config).total == 4 * 3
    seen = run(config, 12)
    assert len({tuple(v.values()) for v in seen}) == 12
    assert sorted({v["weight_init.scale"] for v in seen}) == pytest.approx([0, 1e-3, 0.1, 10])


def test_another_configuration_under_the_same_name_is_refused(quick):
    run(quick("study.name=a"), 2)
    with pytest.raises(UsageError, match=r"model\.width=9: the study 'a' was begun with 8; choose another study\.name"):
        Search(quick("study.name=a", "model.width=9"))


def test_names_come_from_the_configuration(quick):
    assert study_name(quick()) == study_name(quick("search.n_trials=7"))
    assert study_name(quick()) != study_name(quick("seed=1"))
    assert study_name(quick("study.name=mine")) == "mine"


def test_hostile_names_stay_names(quick, home):
    for name in ("../../x", "<script>alert(1)</script>", "a/b", "x" * 200):
        run(quick(f"study.name='{name}'"), 1)
    assert {s.name for s in studies(quick())} >= {"../../x", "a/b"}
    assert all(p.is_relative_to(home / "mlruns") for p in home.rglob("*.journal"))
    assert not (home.parent / "x").exists()


def test_divergence_gets_a_finite_value(quick):
    search = Search(quick("study.name=a", "search.objective=val/loss"))
    (asked,) = search.ask(1)
    bad = TrialRecord([MemberRecord(0, final={"val/loss": math.nan, "val/accuracy": 0.0}, diverged_step=3)])
    search.tell(asked.number, bad)
    assert search.finished[-1].value == 1e6
    (trial,) = search.finished
    assert trial.state == TrialState.COMPLETE
    assert trial.user_attrs["diverged_replicates"] == 1


def test_loss_is_minimised(quick):
    config = quick("study.name=a", "search.objective=val/loss")
    run(config, 12)
    values = [t.value for t in Search(config).finished]
    assert Search(config).best.value == min(values)


def test_any_database_can_hold_the_study(quick, home):
    config = quick("study.name=a", f"search.storage=sqlite:///{home}/o.db")
    seen = run(config, 6)
    assert len(Search(config).finished) == 6
    assert len(seen) == 6
    assert studies(config)[0].store == "sqlite"


WRONG_SPACE = {
    "~search.space.weight_init ~search.space.bias_init": "holds no axis",
    "+search.space.optimizer.lr={low: 1}": "must be {low, high",
    "+search.space.arm={arms: {}}": r"search\.space\.arm\.arms=\{\}: must be \{label",
    "+search.space.arm={arms: {a: {}}}": r"search\.space\.arm\.arms\.a=\{\}: must be \{key",
    "+search.space.arm={arms: {a: 3}}": r"search\.space\.arm\.arms\.a=3: must be \{key",
    "+search.space.arm={arms: {a: {weight_init.nam: zeros}}}": r"weight_init\.nam=zeros: unknown key; did you mean",
    "+search.space.arm={arms: {a: {bias_init.name: zeroes}}}": r"bias_init\.name=zeroes: must be one of",
    "+search.space.arm={arms: {a: {weight_init.layers.last: foo}}}": r"weight_init\.layers\.last",
    "+search.space.arm={arms: {a: {search.n_trials: 3}}}": "search.n_trials: can't be searched",
    "+search.space.arm={arms: {a: {seed: 3}}}": "can't be searched",
    "+search.space.arm={arms: {a: {model.depth: 3}}, log: true}": "has arms, so choices",
    "+search.space.arm={arms: {a: {model.depth: 3}, b: {model.depth: 3}}}": r"arms\.b=.*sets the same as the arm 'a'",
    "+search.space.arm={arms: {a: {bias_init.value: 1.0}}}": r"is set by the axis bias_init\.value already",
    "+search.space.model={arms: {a: {model.depth: 3}}}": "is a key already",
    "+search.space.a.b={arms: {a: {model.depth: 3}}}": "named by letters, digits",
    "search.space.weight_init.scale={low: 2, high: 1}": "must be at most high=1",
    "search.space.weight_init.scale={low: -1, high: 1, zero: false, log: true}": "above 0 on a log axis",
    "search.space.weight_init.scale={low: -1, high: 1, zero: false, log: false}": r"weight_init\.scale=-1\.0",
    "search.space.weight_init.scale={low: nan, high: 1}": "finite number",
    "search.space.weight_init.scale.high=abc": "finite number",
    "+search.space.weight_init.scale.hihg=1": "hihg",
    "+search.space.weight_init.name.choices=[he_normal,nope]": r"weight_init\.name=nope",
    "+search.space.weight_init.name.choices=[]": "one or more",
    "+search.space.model.nothing={low: 1, high: 2}": r"model\.nothing",
    "+search.space.search.n_trials={low: 1, high: 2}": "can't be searched",
    "+search.space.trainer.batch_size={low: 0, high: 64, int: true}": r"trainer\.batch_size=0",
    "search.enqueue=[{weight_init.scale: 99}]": r"search\.enqueue\[0\]\.weight_init\.scale=99",
    "search.enqueue=[{weight_init.scale: abc}]": r"search\.enqueue\[0\]\.weight_init\.scale=abc",
    "search.enqueue=[{weight_init.scale: null}]": r"search\.enqueue\[0\]\.weight_init\.scale=None",
    "search.enqueue=[{weight_init.scal: 1}]": r"search\.enqueue\[0\]\.weight_init\.scal=1: unknown key",
    "search.space.weight_init.scale.low=1e-300": "too small to set 0 apart",
    "+search.space.trainer.epochs={low: 0.4, high: 3, int: true, log: true}": "whole numbers",
    "+search.space.dataset.name.choices=[digits,wine]": "can't be searched",
}


@pytest.mark.parametrize("override", WRONG_SPACE)
def test_wrong_spaces_are_named_and_nothing_is_written(quick, home, override):
    with pytest.raises(UsageError, match=WRONG_SPACE[override]):
        Search(quick(*(override.split() if override[0] == "~" else [override])))
    assert not list(home.rglob("*.journal"))


def test_inert_axes_are_left_out():
    assert [a.key for a in axes_of(compose(["bias_init=zeros"]))] == ["weight_init.scale"]
    assert [a.key for a in axes_of(compose(["weight_init=zeros", "bias_init=normal"]))] == ["bias_init.value"]
    both = compose(["bias_init=zeros", "+search.space.bias_init.name.choices=[zeros,normal]"])
    assert len(axes_of(both)) == 3


@pytest.mark.parametrize("value", [0.0, 1e-3, 0.37, 10.0])
def test_axes_decode_what_they_encode(value):
    axis = Axis("k", 1e-3, 10.0, log=True, zero=True)
    assert axis.decode(axis.encode(value)) == value
    assert axis.distribution._contains(axis.encode(value))


def test_integer_and_categorical_axes(quick):
    config = quick(
        "study.name=a", "search=random", "search.batch=20", "+search.space.model.depth={low: 1, high: 3, int: true}",
        "+search.space.weight_init.name.choices=[he_normal,orthogonal]",
    )  # fmt: skip
    found = [asked.config for asked in Search(config).ask(20)]
    assert {c.model.depth for c in found} == {1, 2, 3}
    assert {c.weight_init.name for c in found} == {"he_normal", "orthogonal"}


def test_other_data_under_the_same_name_are_refused(quick):
    Search(quick("study.name=a"), "digest one").close()
    with pytest.raises(UsageError, match=r"dataset=digits: the data have changed since the study 'a' was begun"):
        Search(quick("study.name=a"), "digest two")


def test_two_who_share_a_study_get_different_trials(quick):
    config = quick("search=random", "study.name=shared", "search.n_trials=12")
    alone = run(quick("search=random", "study.name=alone"), 12)
    first, second = Search(config), Search(config)
    seen = {}
    while first.done < 12:
        for search in (first, second):
            for asked in search.ask(2):
                assert asked.number not in seen
                seen[asked.number] = asked.values
                assert search.tell(asked.number, made_up(asked.values))
            first.sync()
    assert [seen[number] for number in range(12)] == alone
    second.sync()
    assert [t.number for t in second.finished] == [t.number for t in first.finished] == list(range(12))
    assert first.best.number == second.best.number


def test_a_finite_loss_is_always_better_than_divergence(quick):
    search = Search(quick("study.name=a", "search.objective=val/loss"))
    huge = TrialRecord([MemberRecord(0, final={"val/loss": 8e19})])
    wild = TrialRecord([MemberRecord(0, final={"val/loss": math.nan}, diverged_step=1)])
    assert search.objective(huge) < search.objective(wild)


def test_damaged_journals_are_named(quick, home):
    run(quick("study.name=good"), 2)
    run(quick("study.name=bad"), 2)
    journal = home / "mlruns" / "optuna" / "bad.journal"
    journal.write_text(journal.read_text().replace('"op_code"', '"op"'))
    with pytest.raises(RunError, match=r"bad\.journal: the journal is damaged"):
        Search(quick("study.name=bad"))
    assert [s.name for s in studies(quick())] == ["(damaged) bad", "good"]


ARMS = (
    "+search.space.arm={arms: {plain: {weight_init.name: glorot_normal, weight_init.scale: 2.0}, "
    "last zero: {weight_init.layers.last: zeros}, 0.5: {weight_init.scale: 0.5}}}"
)


def armed(quick, *overrides):
    return quick(
        "search=grid", "study.name=a", "search.space.weight_init=null", "search.space.bias_init=null", ARMS, *overrides
    )


def test_an_arm_sets_several_keys_at_once(quick):
    config = armed(quick, "search.batch=6", "+search.space.model.depth.choices=[1,2]")
    search = Search(config)
    assert search.total == 6
    asked = search.ask(6)
    assert len({(a.values["arm"], a.values["model.depth"]) for a in asked}) == 6
    for trial in asked:
        init = trial.config.weight_init
        scale, last = {"plain": (2.0, None), "last zero": (1.0, "zeros"), "0.5": (0.5, None)}[trial.values["arm"]]
        assert (init.scale, init.layers.last and init.layers.last.name) == (scale, last)
        assert trial.config.model.depth == trial.values["model.depth"]
        assert search.again(search.storage.get_trial(trial.number)) == trial
    search.close()


def test_null_takes_an_axis_away(quick):
    assert [axis.key for axis in axes_of(armed(quick))] == ["arm"]
    assert [axis.key for axis in axes_of(quick("search.space.weight_init.scale=null"))] == ["bias_init.value"]


def test_an_axis_is_not_inert_when_an_arm_gives_it_a_scheme(quick):
    arms = "+search.space.arm={arms: {a: {bias_init.name: normal}, b: {bias_init.name: uniform}}}"
    config = quick("bias_init=zeros", arms)
    assert [axis.key for axis in axes_of(config)] == ["weight_init.scale", "bias_init.value", "arm"]


def test_a_study_of_a_question_is_named_after_it(quick):
    assert study_name(quick("experiment=q3")).startswith("q3-digits-")
    assert study_name(quick("experiment=q3", "study.name=mine")) == "mine"
