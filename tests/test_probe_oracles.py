"""Every probe against its slow oracle, on every kind of network."""

import math

import numpy as np
import oracles
import pytest
import torch
from networks import NETWORKS, UNSTABLE, build, fit_data
from torch import nn

from pipeline.init import BIASES, WEIGHTS, InitSpec, initial_parameters
from pipeline.layers import Layer, activation_paths, trace_layers
from pipeline.models import MLP
from pipeline.optim import OptimizerSpec
from pipeline.plan import Member, Plan
from pipeline.probes import PROBES, LayerProbe, measure, take_snapshot
from pipeline.stack import Stack
from pipeline.train import train
from pipeline.updates import update_ratios

# Which weight reads each hidden layer's activations, or nothing but them flattened.
READERS = {
    "residual": {},
    "convolutional": {"conv": "out"},
    "batchnorm": {"0": "3"},
    "cnn": {"1.layers.conv1": "1.layers.conv2", "1.layers.conv2": "1.layers.dense", "1.layers.dense": "1.layers.out"},
    **{name: {"layers.1": "layers.3", "layers.3": "layers.5"} for name in NETWORKS if name.startswith("mlp")},
}


def members(module: nn.Module, name: str) -> list[dict[str, torch.Tensor]]:
    schemes = sorted(set(WEIGHTS) - set(UNSTABLE.get(name, ())))
    specs = [InitSpec(w, s, b, 0.3) for w in schemes for b in sorted(BIASES)[:2] for s in (0.5, 3.0)]
    found = [initial_parameters(module, spec, seed, fit_data()) for seed, spec in enumerate(specs)]
    # Copies, near copies and opposite rows in the first weight.
    for i, p in enumerate(found[::3]):
        weight = next(v for v in p.values() if v.ndim >= 2)
        weight[1] = weight[0] * (1 + (i % 3) * 1e-5)
        weight[2] = -weight[0]
    return found


def test_every_probe_has_an_oracle():
    layer_probes = {name for name, probe in PROBES.items() if isinstance(probe, LayerProbe)}
    assert set(oracles.LAYER) == layer_probes
    assert set(oracles.NETWORK) == set(PROBES) - layer_probes


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_probes_against_slow_oracles(name, wine64):
    module = build(name, 13, 3).double()
    layers = trace_layers(module, wine64.x_train[:2])
    now = members(module, name)
    before = now[1:] + now[:1]
    stack, start = (Stack(module, states, torch.float64, 64) for states in (now, before))
    x, y = wine64.x_train[:32], wine64.y_train[:32]
    updates = {key: p - start.parameters[key] for key, p in stack.parameters.items()}
    ratio, by_layer = update_ratios(stack, updates, layers)
    snapshot = take_snapshot(stack, layers, x, y, ratio, layer_ratios=by_layer, jacobian=True).started_at(
        {layer.name: layer.a for layer in take_snapshot(start, layers, x, y).hidden}
    )
    found = measure(snapshot, tuple(PROBES))
    for i in range(0, len(now), 5):
        network = by_hand(module, layers, now[i], before[i], x, y, READERS[name])
        for probe, oracle in oracles.NETWORK.items():
            value, expected = float(found.network[probe][i]), oracle(network)
            if probe == "signal/jacobian_condition":  # ill-conditioned itself
                value, expected = math.log(value), math.log(expected)
            assert value == pytest.approx(expected, rel=1e-6, abs=1e-5), (i, probe)
        for layer, view in zip(layers, network.layers, strict=True):
            for probe, oracle in oracles.LAYER.items():
                measured = found.layers.get((layer.name, probe))
                if not layer.hidden and not PROBES[probe].output_too:
                    assert measured is None
                    continue
                expected = oracle(view)
                assert (measured is None) == (expected is None), probe
                if expected is not None:
                    assert float(measured[i]) == pytest.approx(expected, rel=1e-6, abs=1e-6), (i, layer.name, probe)


def by_hand(
    module: nn.Module,
    layers: list[Layer],
    now: dict[str, torch.Tensor],
    before: dict[str, torch.Tensor],
    x: torch.Tensor,
    y: torch.Tensor,
    readers: dict[str, str],
) -> oracles.NetworkView:
    """One network, run as a plain module; gradients and Jacobians by autograd."""
    module.eval()
    module.load_state_dict(before, strict=False)
    starts = signals(module, layers, x)
    module.load_state_dict(now, strict=False)
    module.zero_grad()
    nn.functional.cross_entropy(module(x), y).backward()
    views = []
    for layer, (z, a), (_, start) in zip(layers, signals(module, layers, x), starts, strict=True):
        child = module.get_submodule(layer.name)
        weight, gradient = (t.detach().flatten(1).numpy().copy() for t in (child.weight, child.weight.grad))
        none = np.zeros(len(weight))
        bias, bias_gradient = none, none
        if child.bias is not None:
            bias, bias_gradient = (t.detach().numpy().copy() for t in (child.bias, child.bias.grad))
        previous = before[layer.weight].flatten(1).numpy()
        activation = layer.activation.name if layer.activation else None
        view = oracles.LayerView(activation, weight, bias, gradient, bias_gradient, previous, z, a, start)
        if layer.name in readers:
            reader = module.get_submodule(readers[layer.name]).weight.detach().numpy()
            positions = reader.shape[1] // len(weight)
            view.outgoing = [reader[:, u * positions : (u + 1) * positions].ravel() for u in range(len(weight))]
        views.append(view)
    jacobians = [torch.autograd.functional.jacobian(module, row[None])[0, :, 0].numpy() for row in x]
    return oracles.NetworkView(views, jacobians)


def signals(
    module: nn.Module, layers: list[Layer], x: torch.Tensor
) -> list[tuple[np.ndarray | None, np.ndarray | None]]:
    """Pre-activations and activations of each layer, (samples, units); None for the output layer."""
    kept = {}
    paths = activation_paths(module)  # in these networks each serves one layer, in order
    hooks = [
        module.get_submodule(path).register_forward_hook(
            lambda _, args, out, path=path: kept.update({path: (args[0].detach(), out.detach())})
        )
        for path in paths
    ]
    module(x)
    for hook in hooks:
        hook.remove()
    found = []
    for layer in layers:
        pair = kept[paths[layer.call]] if layer.hidden else (None, None)
        found.append(tuple(t if t is None else by_sample(t) for t in pair))
    return found


def by_sample(t: torch.Tensor) -> np.ndarray:
    return (t.movedim(1, -1).flatten(0, -2) if t.ndim > 2 else t).numpy()


def test_update_ratio_is_what_an_optimiser_step_does(digits):
    data = digits.to("cpu", torch.float64)
    plan = Plan(
        epochs=1, batch_size=1024, optimizer=OptimizerSpec(), dtype="float64", probes=tuple(PROBES), keep_state=True
    )
    module = MLP((64,), 10, 1, 8)
    spec = InitSpec("glorot_normal")
    (record,) = train(module, data, [Member(0, spec, lr=0.1)], plan)
    before = initial_parameters(module, spec, 0)
    weights = [name for name in before if name.endswith("weight")]
    moved = math.sqrt(sum(float(((record.state[n] - before[n].numpy()) ** 2).sum()) for n in weights))
    size = math.sqrt(sum(float((before[n] ** 2).sum()) for n in weights))
    assert record.final["signal/update_ratio"] == pytest.approx(moved / size, rel=1e-9)
    assert record.init["signal/update_ratio"] == record.final["signal/update_ratio"]
    rows = {row.layer: row.value for row in record.layers if row.metric == "signal/layer_update_ratio"}
    assert list(rows) == ["layers.1", "layers.3"]
    for layer, ratio in rows.items():
        start = before[f"{layer}.weight"].numpy()
        step = record.state[f"{layer}.weight"] - start
        assert ratio == pytest.approx(np.linalg.norm(step) / np.linalg.norm(start), rel=1e-9)


def test_dear_probes_are_measured_at_the_ends_alone(digits):
    plan = Plan(epochs=1, batch_size=256, probes=tuple(PROBES))
    (record,) = train(MLP((64,), 10, 1, 8), digits, [Member(0, InitSpec("he_normal"))], plan)
    last = len(digits.x_train) // 256
    assert last > 2
    assert sorted(record.curves["signal/jacobian_mean"]) == [0, last]
    kept = record.curves["signal/cka_to_start"]
    assert sorted(kept) == sorted(record.curves["redundancy/effective_width"])
    assert kept[0] == pytest.approx(1, abs=1e-12)
    assert 0 < kept[last] < 1
    assert 0 not in record.curves["signal/update_ratio"]
    assert "signal/activation_variance" not in record.curves  # of layers alone
