"""Dropout in a stack: each member's own masks, whatever shares the stack."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.dropout import MaskedDropout, Masks, with_masked_dropout
from pipeline.errors import UsageError
from pipeline.init import InitSpec, initial_parameters
from pipeline.models import MLP
from pipeline.optim import OptimizerSpec
from pipeline.plan import Member, Plan
from pipeline.probes import PROBES
from pipeline.seeds import stream
from pipeline.stack import Stack
from pipeline.train import train

PLAN = Plan(epochs=2, batch_size=16, optimizer=OptimizerSpec("adam"), probes=tuple(PROBES), keep_state=True)
MEMBERS = [Member(seed % 3, InitSpec("glorot_normal", 1 + 0.1 * seed), lr=0.01) for seed in range(5)]


class Twice(nn.Module):
    """One dropout module that serves two layers, each with masks of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(13, 12), nn.Linear(12, 9), nn.Linear(9, 3)
        self.act, self.drop = nn.Tanh(), nn.Dropout(0.4)

    def forward(self, x):
        h = self.drop(self.act(self.a(x)))
        return self.out(self.drop(self.act(self.b(h))))


NETWORKS = {"mlp": lambda: MLP((13,), 3, 2, 10, "tanh", dropout=0.3), "twice": Twice}


def equal(a, b) -> bool:
    same_state = all(np.array_equal(a.state[k], b.state[k], equal_nan=True) for k in a.state)
    return same_state and repr((a.final, a.init, a.curves, a.layers)) == repr((b.final, b.init, b.curves, b.layers))


@pytest.mark.parametrize("batch_size", [16, 50])
@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_the_same_to_the_last_bit_in_any_company_and_slot(name, batch_size, wine64):
    data = wine64.to("cpu", torch.float32)
    plan = replace(PLAN, batch_size=batch_size)
    everyone = train(NETWORKS[name](), data, MEMBERS, plan)
    for order in ([4], [4, 2], [3, 0, 3, 1], [1, 4, 0, 2, 3]):
        records = train(NETWORKS[name](), data, [MEMBERS[i] for i in order], plan)
        assert all(equal(r, everyone[i]) for i, r in zip(order, records, strict=True)), order


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_against_the_masks_written_out(name):
    """The gradients of each member are those of a plain network whose units are multiplied by its masks."""
    module, seeds, p = NETWORKS[name]().double(), [5, 6], 0.3 if name == "mlp" else 0.4
    starts = [initial_parameters(module, InitSpec(), seed) for seed in seeds]
    stack = Stack(module, starts, torch.float64, 16, seeds=seeds)
    generators = [stream(seed, "dropout") for seed in seeds]
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(stack.size, 16, 13, generator=g, dtype=torch.float64), torch.arange(16) % 3
    widths = [10, 10] if name == "mlp" else [12, 9]
    for _ in range(2):  # masks are new in each step
        gradients, _, _ = stack.gradients(x, y.expand(stack.size, -1))
        for i, start in enumerate(starts):
            layers = [n.removesuffix(".weight") for n in start if n.endswith("weight")]
            state = {n: t.clone().requires_grad_() for n, t in start.items()}
            h = x[i]
            for layer, width in zip(layers, widths, strict=False):
                mask = (torch.rand(16, width, generator=generators[i]) >= p).double() / (1 - p)
                h = torch.tanh(h @ state[f"{layer}.weight"].T + state[f"{layer}.bias"]) * mask
            logits = h @ state[f"{layers[-1]}.weight"].T + state[f"{layers[-1]}.bias"]
            nn.functional.cross_entropy(logits, y).backward()
            for key, value in state.items():
                torch.testing.assert_close(gradients[key][i], value.grad, atol=1e-12, rtol=0)


def test_evaluation_and_records_know_no_dropout(digits):
    start = initial_parameters(MLP((64,), 10, 1, 8), InitSpec(), 0)
    with_dropout = Stack(MLP((64,), 10, 1, 8, dropout=0.5), [start], torch.float32, 64)
    without = Stack(MLP((64,), 10, 1, 8), [start], torch.float32, 64)
    x = digits.x_val
    assert torch.equal(with_dropout.logits(x), without.logits(x))
    with_dropout.gradients(x[:64].expand(1, 64, 64), digits.y_val[:64][None])
    assert torch.equal(with_dropout.logits(x), without.logits(x))
    assert set(with_dropout.member(0)) == set(start)
    assert set(with_dropout.module.state_dict()) == set(start)


def test_the_same_seed_gives_the_same_start_with_and_without_dropout():
    plain, dropped = MLP((4,), 2, 2, 5), MLP((4,), 2, 2, 5, dropout=0.2)
    a, b = (initial_parameters(m, InitSpec("he_normal", 1, "normal", 1.0), 3) for m in (plain, dropped))
    assert list(a) == list(b)
    assert all(torch.equal(a[k], b[k]) for k in a)


def test_without_dropout_nothing_is_drawn():
    module = with_masked_dropout(nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.0)))
    assert isinstance(module[1], nn.Identity)
    assert Masks(module, [0]).draw(torch.zeros(2, 3)) == {}


@pytest.mark.parametrize("p", [0.25, 1.0])
def test_masks_keep_the_mean(p):
    module = with_masked_dropout(nn.Sequential(nn.Linear(400, 400), nn.Dropout(p)))
    assert isinstance(module[1], MaskedDropout)
    mask = Masks(module, [0, 1, 0]).draw(torch.zeros(100, 400))["1.mask0"]
    assert mask.shape == (3, 100, 400)
    assert torch.equal(mask[0], mask[2])
    assert not torch.equal(mask[0], mask[1]) or p == 1
    assert float((mask == 0).double().mean()) == pytest.approx(p, abs=0.01)
    assert float(mask.mean()) == pytest.approx(1.0 if p < 1 else 0.0, abs=0.02)


def test_a_dropout_layer_is_no_other_network_in_the_end(digits):
    """Dropout makes the gradient noisier, not the network another one: it still trains."""
    plan = replace(PLAN, batch_size=64, epochs=6)
    (record,) = train(MLP((64,), 10, 1, 32, dropout=0.2), digits, [Member(0, InitSpec(), lr=0.01)], plan)
    assert record.final["test/accuracy"] > 0.85
    assert set(record.state) == set(dict(MLP((64,), 10, 1, 32).named_parameters()))


@pytest.mark.parametrize("kind", [nn.AlphaDropout, nn.Dropout1d])
def test_other_dropouts_are_refused_by_name(kind):
    module = nn.Sequential(nn.Linear(4, 4), kind(0.5), nn.Linear(4, 2))
    with pytest.raises(UsageError, match=rf"model \(1\)\.p=0\.5: {kind.__name__} can't be stacked"):
        Stack(module, [initial_parameters(copy.deepcopy(module), InitSpec(), 0)], torch.float32, 64)
