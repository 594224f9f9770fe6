"""A stacked member equals the same network trained alone, whatever shares its stack."""

import copy
import math

import oracles
import pytest
import torch
from networks import NETWORKS, UNSTABLE, build, fit_data
from torch import nn

from pipeline.device import reproducible
from pipeline.init import BIASES, WEIGHTS, InitSpec, initial_parameters
from pipeline.models import MLP
from pipeline.optim import OPTIMIZERS, OptimizerSpec, StackedOptimizer
from pipeline.stack import ROW_BLOCK, Stack, padded_size

FEATURES, CLASSES, ROWS = 13, 3, 16
SPECS = [
    InitSpec(w, 0.8, b, 0.2) for w, b in zip(sorted(WEIGHTS), sorted(BIASES) * 3, strict=False)
]  # every weight scheme, every bias scheme
# Adam divides gradients by their own size: where those of tied weights cancel, that is round-off, which some
# processors have and others don't.
UNSTABLE_UNDER_ADAM = {"cnn": ("tied",)}


def batches(seed: int, steps: int, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    make = [
        (torch.randn(ROWS, FEATURES, generator=g, dtype=torch.float64), torch.randint(0, CLASSES, (ROWS,), generator=g))
        for _ in range(steps)
    ]
    return [(x.to(dtype), y) for x, y in make]


def train_stacked(module, members, per_member, optimizer, lr, decay, dtype=torch.float64):
    """Trains members on their own batches; returns the stack."""
    with reproducible():
        stack = Stack(module, members, dtype, ROWS)
        pad = stack.size - len(members)
        steps = StackedOptimizer(stack.parameters, optimizer, [*lr, *[lr[0]] * pad], [*decay, *[decay[0]] * pad])
        for i in range(len(per_member[0])):
            rows = [own[i] for own in per_member] + [per_member[0][i]] * pad
            x, y = torch.stack([r[0] for r in rows]), torch.stack([r[1] for r in rows])
            gradients, _, _ = stack.gradients(x, y)
            steps.step(gradients)
    return stack


def torch_optimizer(spec: OptimizerSpec, lr: float, decay: float):
    if spec.name == "sgd":
        return lambda p: torch.optim.SGD(p, lr=lr, momentum=spec.momentum, weight_decay=decay)
    kind = torch.optim.Adam if spec.name == "adam" else torch.optim.AdamW
    return lambda p: kind(p, lr=lr, betas=(spec.beta1, spec.beta2), eps=spec.eps, weight_decay=decay)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_stacked_equals_alone(name, optimizer):
    module = build(name, FEATURES, CLASSES)
    unstable = UNSTABLE.get(name, ()) + (() if optimizer == "sgd" else UNSTABLE_UNDER_ADAM.get(name, ()))
    specs = [s for s in SPECS if s.weight not in unstable]
    spec = OptimizerSpec(optimizer, momentum=0.9 if optimizer == "sgd" else 0.0)
    members = [initial_parameters(module, init, seed, fit_data()) for seed, init in enumerate(specs)]
    lr = [0.002 * (1 + i % 4) for i in range(len(members))]
    decay = [0.01 * (i % 3) for i in range(len(members))]
    per_member = [batches(seed, 50) for seed in range(len(members))]
    stack = train_stacked(module, members, per_member, spec, lr, decay)
    for i, initial in enumerate(members):
        alone = copy.deepcopy(module).double()
        alone.load_state_dict(initial, strict=False)
        expected = oracles.train_alone(alone, per_member[i], torch_optimizer(spec, lr[i], decay[i]))
        found = stack.member(i)
        assert set(found) == set(expected)
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, atol=1e-9, rtol=0, msg=f"{specs[i]} {key}")


def test_a_diverging_member_leaves_the_others_untouched():
    module = MLP((FEATURES,), CLASSES, depth=1, width=5, activation="relu")
    calm = initial_parameters(module, InitSpec("he_normal"), 0)
    wild = initial_parameters(module, InitSpec("he_normal", 1e20), 1)
    data = [batches(0, 20, torch.float32), batches(1, 20, torch.float32)]
    sgd = OptimizerSpec("sgd")
    with_wild = train_stacked(module, [calm, wild], data, sgd, [0.1, 1e20], [0, 0], torch.float32)
    without = train_stacked(module, [calm], data[:1], sgd, [0.1], [0], torch.float32)
    assert with_wild.finite().tolist() == [True, False]
    assert all(torch.equal(v, without.member(0)[k]) for k, v in with_wild.member(0).items())


@pytest.mark.parametrize(("members", "batch"), [(1, 64), (1, 50), (5, 50), (3, 7), (32, 1), (33, 2)])
def test_padding_fills_whole_blocks(members, batch):
    size = padded_size(members, batch)
    assert size >= members
    assert size * batch % ROW_BLOCK == 0
    assert size - members < ROW_BLOCK // math.gcd(ROW_BLOCK, batch)


def test_evaluate_against_a_loop(digits):
    module = MLP((64,), 10, depth=1, width=6)
    members = [initial_parameters(module, InitSpec("glorot_normal"), s) for s in range(3)]
    stack = Stack(module, members, torch.float64, 64)
    x, y = digits.x_val.double(), digits.y_val
    loss, accuracy = stack.evaluate(x, y)
    for i, state in enumerate(members):
        module.double().load_state_dict(state)
        logits = module(x).detach()
        assert float(loss[i]) == pytest.approx(float(nn.functional.cross_entropy(logits, y)), abs=1e-12)
        assert float(accuracy[i]) == float((logits.argmax(1) == y).double().mean())


def test_a_network_of_nan_predicts_nothing(digits):
    module = MLP((64,), 10)
    state = initial_parameters(module, InitSpec("glorot_normal"), 0)
    state["layers.1.weight"][:] = math.nan
    _, accuracy = Stack(module, [state], torch.float32, 64).evaluate(digits.x_val, digits.y_val)
    assert float(accuracy) == 0


def test_more_members_than_slots_are_an_error():
    module = nn.Linear(2, 2)
    states = [{name: p.detach() for name, p in module.named_parameters()}] * 3
    with pytest.raises(ValueError, match="3 members don't fit into 2 slots"):
        Stack(module, states, torch.float32, None, slots=2)
