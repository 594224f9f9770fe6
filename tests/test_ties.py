import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.dataset import Dataset
from pipeline.init import InitSpec, initial_parameters
from pipeline.layers import trace_layers
from pipeline.models import MLP
from pipeline.optim import OptimizerSpec
from pipeline.plan import Member, Plan
from pipeline.stack import Stack
from pipeline.ties import NEVER, TieClock
from pipeline.train import Training


def clock(*weights: Tensor, bias: Tensor | None = None) -> tuple[Stack, TieClock]:
    """A clock over one hidden layer with the given incoming weights."""
    rows, columns = weights[0].shape
    module = MLP((columns,), 2, depth=1, width=rows)
    members = []
    for weight in weights:
        state = initial_parameters(module, InitSpec(), 0)
        state["layers.1.weight"] = weight.double()
        if bias is not None:
            state["layers.1.bias"] = bias.double()
        members.append(state)
    stack = Stack(module, members, torch.float32, 64)
    return stack, TieClock(stack, trace_layers(module, torch.zeros(2, columns)))


def test_ties_are_seen_at_the_start():
    free = torch.arange(12.0).reshape(4, 3)
    tied = free.clone()
    tied[3] = tied[1]
    _, found = clock(free, tied)
    assert found.broken_step.tolist() == [0, NEVER]


def test_a_different_bias_is_no_tie():
    _, found = clock(torch.zeros(3, 2), bias=torch.tensor([1.0, 2.0, 3.0]))
    assert found.broken_step.tolist() == [0]


def test_minus_zero_equals_zero():
    weight = torch.tensor([[0.0, 1.0], [-0.0, 1.0]])
    _, found = clock(weight)
    assert found.broken_step.tolist() == [NEVER]


def test_the_step_at_which_the_last_tie_breaks():
    weight = torch.ones(4, 3)
    stack, found = clock(weight)
    rows = stack.parameters["layers.1.weight"]
    found.tick(1)
    assert found.broken_step.tolist() == [NEVER]
    rows[0, 0, 0] = 7.0  # the representative leaves; the three others are still tied
    found.tick(2)
    assert found.broken_step.tolist() == [NEVER]
    rows[0, 1, 0] = 8.0
    rows[0, 2, 0] = 9.0
    found.tick(3)
    assert found.broken_step.tolist() == [3]
    rows[0] = 1.0  # a later tie doesn't turn the clock back
    found.tick(4)
    assert found.broken_step.tolist() == [3]


def test_a_class_that_splits_in_two_is_still_tied():
    stack, found = clock(torch.ones(4, 3))
    stack.parameters["layers.1.weight"][0, 2:] = 2.0
    found.tick(1)
    assert found.broken_step.tolist() == [NEVER]


def test_divergence_breaks_no_tie():
    stack, found = clock(torch.ones(4, 3))
    stack.parameters["layers.1.weight"][0] = float("nan")
    found.tick(1)
    assert found.broken_step.tolist() == [NEVER]


@pytest.mark.parametrize("bias", [True, False])
def test_layers_without_bias(bias):
    module = nn.Sequential(nn.Linear(3, 4, bias=bias), nn.Tanh(), nn.Linear(4, 2))
    members = [initial_parameters(module, InitSpec("constant"), 0)]
    found = TieClock(Stack(module, members, torch.float32, 64), trace_layers(module, torch.zeros(2, 3)))
    assert found.broken_step.tolist() == [NEVER]


def test_the_first_break_and_the_first_of_a_lasting_tie():
    module = MLP((3,), 2, depth=1, width=4)
    state = initial_parameters(module, InitSpec(), 0)
    state["layers.1.weight"][:] = 1.0
    free = initial_parameters(module, InitSpec(), 1)
    stack = Stack(module, [state, free, state], torch.float32, 64)
    classes = [[np.array([0, 0, 1, 2])], [np.arange(4)], None]
    found = TieClock(stack, trace_layers(module, torch.zeros(2, 3)), classes)
    found.tick(1)
    assert found.first_break.tolist() == found.lasting_break.tolist() == [NEVER] * 3
    rows = stack.parameters["layers.1.weight"]
    rows[[0, 2], 2] = 7.0
    found.tick(2)
    assert found.first_break.tolist() == [2, NEVER, 2]
    assert found.lasting_break.tolist() == [NEVER] * 3
    rows[0, 1] = 8.0
    found.tick(3)
    assert found.first_break.tolist() == [2, NEVER, 2]
    assert found.lasting_break.tolist() == [3, NEVER, NEVER]
    rows[0, 1] = 1.0
    rows[0, 0] = 5.0
    found.tick(4)
    assert found.lasting_break.tolist() == [3, NEVER, NEVER]
    assert found.broken_step.tolist() == [NEVER, 0, NEVER]


ROWS = 96


def watched_cases(activation, bias):
    """Networks with ties that last, that break at once, and that break after some steps, in one structure."""
    module = nn.Sequential(
        nn.Linear(5, 7, bias=bias), activation(), nn.Linear(7, 6, bias=bias), activation(), nn.Linear(6, 3)
    )
    generator = torch.Generator().manual_seed(3)
    members = []
    for seed in range(40):
        start = initial_parameters(module, InitSpec(("constant", "zeros", "glorot_normal")[seed % 3]), seed)
        for name, tensor in start.items():
            if name.endswith("weight"):
                few = torch.randn(2 + seed % 3, tensor.shape[1], generator=generator, dtype=tensor.dtype)
                if seed % 3 == 2:
                    tensor[:] = few[torch.randint(len(few), (len(tensor),), generator=generator)]
                if seed % 4 == 1:  # what leaves the twins differs so little that some steps round it away
                    tensor += 1e-7 * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype)
        members.append(Member(seed, InitSpec(), lr=(0.5, 0.05, 1e-4, 1e-7, 30.0)[seed % 5], start=start))
    return module, members


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_the_kernels_see_what_a_look_after_every_step_sees(activation, bias, name):
    module, members = watched_cases(activation, bias)
    x, y = torch.randn(ROWS, 5, generator=torch.Generator().manual_seed(0)), torch.arange(ROWS) % 3
    data = Dataset("made", x, y, x[:8], y[:8], x[:8], y[:8], x.mean(0), x.std(0), 3, "made")
    plan = Plan(epochs=4, batch_size=2, optimizer=OptimizerSpec(name), execution="native", keep_state=True)
    watched, ticked = (Training(module, data, members, plan) for _ in range(2))
    seen, clock, step = watched.observer.seen.clock, ticked.observer.seen.clock, 0
    for own in (seen, clock):  # as if all were to last
        own.lasting = list(own.pairs)
    watched.run(plan.epochs)
    for epoch in range(plan.epochs):
        order = torch.stack([orders.of(epoch) for orders in ticked.orders])
        for rows in order.reshape(len(members), -1, 1, plan.batch_size).unbind(1):
            ticked.execution.advance(x, y, rows)
            step += 1
            clock.tick(step)
    for name_of in ("broken_step", "first_break", "lasting_break"):
        assert getattr(seen, name_of).tolist() == getattr(clock, name_of).tolist()
        assert len(set(getattr(seen, name_of).tolist())) > 1
    assert activation is nn.Tanh or (seen.broken_step > 1).any()
    for name_of, tensor in watched.stack.parameters.items():
        assert torch.equal(tensor.nan_to_num(7.0), ticked.stack.parameters[name_of].nan_to_num(7.0))
