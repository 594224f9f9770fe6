import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pipeline.init import InitSpec, initial_parameters
from pipeline.layers import trace_layers
from pipeline.models import MLP
from pipeline.stack import Stack
from pipeline.ties import NEVER, TieClock


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
