"""The arms of the symmetry-break clock, and the causes they show."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from pipeline.clock import find_causes, read_clock
from pipeline.clock.arms import ARMS, with_dropout, without_dropout
from pipeline.dataset import Dataset
from pipeline.errors import UsageError
from pipeline.init import InitSpec, initial_parameters
from pipeline.models import MLP
from pipeline.optim import OptimizerSpec
from pipeline.plan import Member, Plan

PLAN = Plan(epochs=2, batch_size=32, optimizer=OptimizerSpec("sgd", 0.9))


@pytest.fixture(scope="module")
def few(digits) -> Dataset:
    parts = {f"{a}_{part}": getattr(digits, f"{a}_{part}")[:32] for part in ("val", "test") for a in "xy"}
    return replace(digits, x_train=digits.x_train[:160], y_train=digits.y_train[:160], **parts)


def clock_of(data, spec, depth=1, dropout=0.0, plan=PLAN, activation="tanh", **member):
    module = MLP((64,), 10, depth, 8, activation, dropout)
    found = read_clock(module, data, Member(0, spec, lr=0.05, **member), plan)
    assert tuple(found.arms) == ARMS
    # Exact arithmetic keeps every tie within a class, whatever else happens.
    assert found.arms["exact"].lasting_break == -1
    assert found.arms["exact"].functional_width <= found.prediction.width
    return found


def test_all_zero_nothing_moves(few):
    found = clock_of(few, InitSpec("zeros"), depth=2)
    assert found.reached == 0
    assert found.prediction.constant == [8, 8]
    assert {arm.lasting_break for arm in found.arms.values()} == {-1}
    assert "none broke in 10 steps" in found.causes[0]
    assert "float32 never, float64 never, exact arithmetic never" in found.causes[1]
    assert found.arms["configured"].functional_width == 1 / 8


def circulant_start(width: int = 8) -> dict[str, torch.Tensor]:
    """All neurons of a layer in one class, by sums that are added up in another order for each."""
    start = initial_parameters(MLP((64,), 10, 2, width), InitSpec("tied"), 0)
    row = torch.randn(width, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    start["layers.3.weight"] = torch.stack([row.roll(i) for i in range(width)])
    return start


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ties_that_round_off_alone_breaks(few, dtype):
    found = clock_of(few, InitSpec(), depth=2, start=circulant_start(), plan=replace(PLAN, dtype=dtype))
    own = found.arms["configured"]
    assert found.symmetry.widths == [1, 1]
    assert [(t.parting, t.lasting) for t in found.ties] == [(0, 28), (0, 0)]
    assert own.lasting_break >= 1
    assert own.lasting_break == own.first_break == found.arms[dtype].lasting_break
    assert f"broke at step {own.lasting_break}, by round-off" in next(c for c in found.causes if "keeps for ever" in c)
    assert found.arms["exact"].first_break == found.arms["exact"].broken_step == -1
    # Noise breaks all of them before the first step.
    assert found.arms["noise"].broken_step == 0


def test_tied_rows_with_different_columns_break_by_structure(few):
    found = clock_of(few, InitSpec("glorot_normal", weight_layers={"first": ("row_tied", 1.0)}), depth=2)
    assert [(t.parting, t.lasting) for t in found.ties] == [(28, 0), (0, 0)]
    for name in ("configured", "exact", "float64", "float32", "full batch", "minibatch", "dropout"):
        assert found.arms[name].first_break == 1, name
        assert found.arms[name].lasting_break == -1, name
    assert found.causes == [
        "layer 2: no tie at the start, its rows differ",
        "layer 1: 28 tied pairs told apart by the columns of layer 2 (structural), the first at step 1",
    ]


def test_a_structural_tie_that_no_gradient_reaches(few):
    """The columns of layer 2 differ, but ReLU gives 0 where rows and biases are 0, so no weight ever moves."""
    spec = InitSpec("zeros", weight_layers={"hidden": ("normal", 1.0)})
    found = clock_of(few, spec, depth=2, activation="relu")
    assert found.prediction.constant == [8, 8]
    assert found.arms["exact"].first_break == -1
    assert found.causes == [
        "layer 2: no tie at the start, its rows differ",
        "layer 1: 28 tied pairs told apart by the columns of layer 2 (structural), none in 10 steps",
    ]


def test_rows_that_differ_in_order_only_are_said_to(few):
    found = clock_of(few, InitSpec(), depth=2, start=circulant_start(), plan=replace(PLAN, epochs=1))
    assert found.causes[0] == (
        "layer 2: no tie at the start, but the sums of its rows over the classes below are equal"
    )


def test_dropout_breaks_what_lasts_without(few):
    found = clock_of(few, InitSpec("tied"), dropout=0.2)
    own = found.arms["configured"]
    assert own.first_break == own.lasting_break == 1
    assert found.arms["float32"].lasting_break != 1
    assert "broke at step 1, by dropout (without it, float32: " in found.causes[0]


def test_round_off_before_dropout_is_called_round_off(few):
    """Where the network without dropout broke no later, dropout isn't needed to explain it."""
    found = clock_of(few, InitSpec("tied"), dropout=0.2, plan=replace(PLAN, epochs=1))
    early = {**found.arms, "float32": replace(found.arms["float32"], lasting_break=1)}
    causes = find_causes(found.symmetry, found.ties, early, dropout=True)
    assert causes[0].endswith("broke at step 1, by round-off")


def test_random_biases_are_no_tie(few):
    found = clock_of(few, InitSpec("zeros", bias="normal", value=1.0), depth=3)
    assert [(t.parting, t.lasting) for t in found.ties] == [(0, 0)] * 3
    assert found.reached == 1
    assert found.causes == [f"layer {i}: no tie at the start, its biases differ" for i in (1, 2, 3)]


def test_the_minibatch_arm_differs_from_the_full_batch(few):
    found = clock_of(few, InitSpec("glorot_normal"), plan=replace(PLAN, batch_size=160, epochs=3))
    assert found.arms["full batch"].batch_size == 160
    assert found.arms["minibatch"].batch_size == 32
    assert {arm.steps for arm in found.arms.values()} == {3, 5}


def test_arms_begin_with_a_given_start(few):
    start = initial_parameters(MLP((64,), 10, 1, 8), InitSpec("tied"), 3)
    found = clock_of(few, InitSpec("glorot_normal"), start=start, plan=replace(PLAN, epochs=1))
    assert found.ties[0].lasting == 28


def test_networks_that_are_no_mlp_are_refused(few):
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 10))
    with pytest.raises(UsageError, match="for MLPs only"):
        read_clock(module, few, Member(0, InitSpec()), PLAN)
    with pytest.raises(UsageError, match="aren't finite"):
        read_clock(MLP((64,), 10), few, Member(0, InitSpec("glorot_normal", 1e60)), PLAN)


def test_dropout_is_put_in_and_taken_out():
    module = MLP((4,), 2, 2, 5)
    changed = with_dropout(module, 0.3)
    assert [m.p for m in changed.modules() if isinstance(m, nn.Dropout)] == [0.3, 0.3]
    assert list(changed.state_dict()) == list(module.state_dict())
    assert [m.p for m in without_dropout(changed).modules() if isinstance(m, nn.Dropout)] == [0.0, 0.0]
    x = torch.randn(3, 4)
    assert torch.equal(without_dropout(changed)(x), module(x))
