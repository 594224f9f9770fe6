"""The execution modes: the same training by other means, each independent of company and of pauses."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import build
from torch import nn

from pipeline.activations import ACTIVATIONS
from pipeline.dataset import Dataset
from pipeline.device import reproducible
from pipeline.init import InitSpec, initial_parameters
from pipeline.models import CNN, MLP
from pipeline.native import KINDS, MLPKernel
from pipeline.optim import OPTIMIZERS, OptimizerSpec
from pipeline.paused import Paused
from pipeline.plan import Member, Plan
from pipeline.probes import PROBES
from pipeline.train import Training, train

PLAN = Plan(epochs=3, batch_size=16, optimizer=OptimizerSpec("adam"), probes=tuple(PROBES), keep_state=True)
SPECS = [
    InitSpec("glorot_normal", 1.0, "normal", 0.1),
    InitSpec("tied", 0.5),
    InitSpec("he_normal", 2.0),
    InitSpec("zeros"),
]
MEMBERS = [Member(i % 3, spec, lr=0.01 * (1 + i % 2), weight_decay=0.01 * (i % 2)) for i, spec in enumerate(SPECS)]


def equal(a, b) -> bool:
    same_state = all(np.array_equal(a.state[k], b.state[k], equal_nan=True) for k in a.state)
    return same_state and repr((a.final, a.init, a.curves, a.layers)) == repr((b.final, b.init, b.curves, b.layers))


def close(a, b, rtol):
    """Two records of the same training with other rounding."""
    for name, value in a.state.items():
        np.testing.assert_allclose(value, b.state[name], rtol=rtol, atol=rtol)
    for name in ("train/loss", "val/loss"):
        np.testing.assert_allclose(list(a.curves[name].values()), list(b.curves[name].values()), rtol=rtol)


def test_the_kernels_know_every_activation():
    assert set(KINDS) == set(ACTIVATIONS)


@pytest.mark.parametrize(
    "optimizer", [OptimizerSpec("sgd"), OptimizerSpec("sgd", 0.9), *map(OptimizerSpec, OPTIMIZERS[1:])]
)
@pytest.mark.parametrize("mode", ["native", "loop"])
def test_a_mode_trains_as_the_stack_does(mode, optimizer, wine64):
    """Against the eager stack, which is tested against torch.optim and plain autograd."""
    data = wine64.to("cpu", torch.float32)
    plan = replace(PLAN, optimizer=optimizer, probes=())
    module = MLP((13,), 3, 2, 10, "tanh")
    for a, b in zip(
        train(module, data, MEMBERS[:1], replace(plan, execution=mode)),
        train(module, data, MEMBERS[:1], plan),
        strict=True,
    ):
        close(a, b, 2e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_the_loop_trains_a_cnn_on_images_as_the_stack_does(channels, pooling):
    g = torch.Generator().manual_seed(2)
    x, y = torch.randn(96, channels, 9, 8, generator=g, dtype=torch.float64), torch.randint(0, 3, (96,), generator=g)
    nothing = torch.zeros(channels, 1, 1)
    data = Dataset("images", x, y, x[:20], y[:20], x[:20], y[:20], nothing, nothing + 1, 3, "")
    plan = replace(PLAN, dtype="float64", probes=())
    module = CNN((channels, 9, 8), 3, width=3, hidden=4, pooling=pooling)
    members = [MEMBERS[0], MEMBERS[2]]  # of equal channels round-off decides which of equal maxima learns
    looped, stacked = (train(module, data, members, replace(plan, execution=mode)) for mode in ("loop", "stacked"))
    for a, b in zip(looped, stacked, strict=True):
        close(a, b, 1e-9)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (1, 33), (3, 16), (2, 40)])
def test_kernel_gradients_and_signals_against_autograd(activation, shape):
    depth, width = shape
    g = torch.Generator().manual_seed(1)
    x, y = torch.randn(37, 13, generator=g), torch.randint(0, 3, (37,), generator=g)
    module = MLP((13,), 3, depth, width, activation)
    starts = [
        initial_parameters(module, InitSpec("he_normal", scale, "normal", 0.5), seed)
        for seed, scale in enumerate((0.5, 3.0))
    ]
    names = list(starts[0])
    stacked = {name: torch.stack([s[name] for s in starts]).float() for name in names}
    kernel = MLPKernel([stacked[n] for n in names[::2]], [stacked[n] for n in names[1::2]], [activation] * depth)
    passed = kernel.gradients(x, y)
    loss, accuracy = kernel.evaluate(x, y, 16)
    for i in range(2):
        network = MLP((13,), 3, depth, width, activation).double()
        network.load_state_dict({name: stacked[name][i].double() for name in names})
        h, seen = x.double(), []
        for layer in list(network.layers)[1:]:
            seen.append(h := layer(h))
        expected = nn.functional.cross_entropy(h, y)
        expected.backward()
        torch.testing.assert_close(loss[i], expected.detach(), rtol=1e-5, atol=1e-6)
        assert float(accuracy[i]) == pytest.approx(float((h.argmax(1) == y).double().mean()), abs=1e-12)
        for found, name in zip(
            [t for pair in zip(passed.weights, passed.biases, strict=True) for t in pair], names, strict=True
        ):
            torch.testing.assert_close(found[i].double(), network.get_parameter(name).grad, rtol=2e-4, atol=2e-6)
        for layer, (z, a) in enumerate(passed.signals):
            torch.testing.assert_close(z[i].double(), seen[2 * layer].detach(), rtol=1e-4, atol=2e-5)
            torch.testing.assert_close(a[i].double(), seen[2 * layer + 1].detach(), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_kernel_activations_to_a_few_units_in_the_last_place(activation):
    """One unit of weight 1: its pre-activation is the input. Tiny, large and infinite inputs among them."""
    z = torch.cat([torch.linspace(-20, 20, 20001), torch.logspace(-37, 1, 500), -torch.logspace(-37, 1, 500)])
    z = torch.cat([z, torch.tensor([1e30, -1e30, torch.inf, -torch.inf, torch.nan])])[:, None]
    one, none = torch.ones(1, 1, 1), torch.zeros(1, 1)
    kernel = MLPKernel([one, torch.zeros(1, 2, 1)], [none, torch.zeros(1, 2)], [activation])
    ((_, a),) = kernel.gradients(z, torch.zeros(len(z), dtype=torch.int64)).signals
    expected = ACTIVATIONS[activation].module()(z.double())
    # GELU's 1 + erf cancels for negative z, in torch's float32 as well: of the size of z, not of the result.
    tolerance = 4e-7 * (z.double().abs().clamp(max=40) if activation == "gelu" else expected.abs()) + 1e-38
    near = (a[0].double() - expected).abs() <= tolerance
    same = (a[0].isnan() & expected.isnan()) | (a[0].double() == expected)
    bad = ~(near | same)
    if activation in ("softsign", "gelu"):
        bad &= z.isfinite()  # inf / inf and inf * 0: NaN, in torch too or not; nothing rests on it
    assert not bad.any(), (z[bad], a[0][bad], expected[bad])


def test_layers_without_bias_and_frozen_shapes(wine64):
    data = wine64.to("cpu", torch.float32)
    module = nn.Sequential(
        nn.Linear(13, 6, bias=False), nn.ReLU(), nn.Linear(6, 5), nn.Sigmoid(), nn.Linear(5, 3, bias=False)
    )
    plan = replace(PLAN, probes=(), optimizer=OptimizerSpec("sgd", 0.5))
    (native,) = train(module, data, MEMBERS[:1], replace(plan, execution="native"))
    (stacked,) = train(module, data, MEMBERS[:1], plan)
    close(native, stacked, 1e-4)


@pytest.mark.parametrize(
    ("mode", "network"),
    [
        ("native", "mlp"),
        ("stacked", "mlp"),
        ("loop", "mlp"),
        ("loop", "cnn"),
        ("stacked", "dropout"),
        ("loop", "dropout"),
    ],
)
def test_neither_company_nor_pauses_change_a_bit(mode, network, wine64, digits):
    data = digits if network == "cnn" else wine64.to("cpu", torch.float32)
    data = replace(data, x_train=data.x_train[:100], y_train=data.y_train[:100])
    module = {
        "mlp": lambda: MLP((13,), 3, 2, 9, "sigmoid"),
        "dropout": lambda: MLP((13,), 3, 2, 9, "sigmoid", dropout=0.3),
        "cnn": lambda: nn.Sequential(
            nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(144, 10)
        ),
    }[network]()
    plan = replace(PLAN, execution=mode)
    everyone = train(module, data, MEMBERS, plan)
    for order in ([2], [3, 1], [1, 1, 0]):
        records = train(module, data, [MEMBERS[i] for i in order], plan)
        assert all(equal(r, everyone[i]) for i, r in zip(order, records, strict=True)), order
    with reproducible():
        if mode == "loop":
            parts = [Training(module, data, [m], plan) for m in MEMBERS]
        else:
            parts = [Training(module, data, MEMBERS[:3], plan), Training(module, data, MEMBERS[3:], plan)]
        for part in parts:
            part.run(1)
        paused = [part.pause() for part in parts]
        if mode == "loop":
            resumed = [Training(module, data, [p], plan) for p in paused]
            order = [0, 1, 2, 3]
        else:  # the last first, the second dropped
            resumed = [Training(module, data, [paused[1], paused[0].take([2, 0])], plan)]
            order = [3, 2, 0]
        records = []
        for part in resumed:
            part.run(2)
            again = Training(module, data, [part.pause()], plan)
            again.run(plan.epochs)
            records += again.finish()
        assert all(equal(r, everyone[i]) for i, r in zip(order, records, strict=True))


def test_paused_members_share_nothing_with_those_that_went_on(wine64):
    data = wine64.to("cpu", torch.float32)
    training = Training(MLP((13,), 3), data, MEMBERS[:2], replace(PLAN, execution="native"))
    training.run(1)
    paused: Paused = training.pause()
    before = {name: p.clone() for name, p in paused.state.parameters.items()}
    training.run(2)
    assert all(torch.equal(p, before[name]) for name, p in paused.state.parameters.items())


def test_a_native_member_that_diverges_is_found_at_its_step_and_leaves_the_others(wine64):
    data = wine64.to("cpu", torch.float32)
    plan = replace(PLAN, execution="native", optimizer=OptimizerSpec("sgd"))
    wild = Member(0, InitSpec("he_normal", 1e18), lr=1e20)
    calm, broken = train(MLP((13,), 3, 1, 5, "relu"), data, [MEMBERS[0], wild], plan)
    (alone,) = train(MLP((13,), 3, 1, 5, "relu"), data, MEMBERS[:1], plan)
    assert equal(calm, alone)
    (stacked,) = train(MLP((13,), 3, 1, 5, "relu"), data, [wild], replace(plan, execution="stacked"))
    assert broken.diverged_step == stacked.diverged_step
    assert broken.final["val/accuracy"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_the_compiled_step_is_the_eager_one(optimizer, wine64):
    data = wine64.to("cpu", torch.float32)
    plan = replace(PLAN, probes=(), optimizer=OptimizerSpec(optimizer), execution="compiled")
    module = build("residual", 13, 3)
    compiled = train(module, data, MEMBERS[:1] * 2, plan)
    assert equal(compiled[0], compiled[1])
    close(compiled[0], train(module, data, MEMBERS[:1], replace(plan, execution="stacked"))[0], 2e-3)
