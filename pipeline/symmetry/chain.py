"""Networks whose symmetry is settled: chains of linear layers, an activation after each but the last."""

import copy
from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from pipeline.activations import ACTIVATIONS
from pipeline.distinct import surely_distinct
from pipeline.layers import Layer, rows_of
from pipeline.stack import Parameters, Stack
from pipeline.symmetry.classes import LayerWeights, Symmetry, all_distinct, find_symmetry
from pipeline.symmetry.predict import Prediction, predict

__all__ = ["chain_prediction", "chain_symmetry", "chain_weights", "is_chain", "stack_symmetry"]


def is_chain(module: nn.Module, layers: Sequence[Layer], sample: Tensor) -> bool:
    """Whether a network is an MLP in all but name, and every parameter of it can be trained.

    Seen by trying: under random parameters it must give what the chain of its layers
    gives, and have no parameter or buffer besides theirs.

    Args:
        layers: as ``trace_layers`` finds them.
        sample: a batch of inputs, ``(rows, *input_shape)``.
    """
    if len(layers) < 2 or [layer.hidden for layer in layers] != [True] * (len(layers) - 1) + [False]:
        return False
    names = {name for layer in layers for name in (layer.weight, layer.bias) if name is not None}
    if names != set(module.state_dict()) or not all(p.requires_grad for p in module.parameters()):
        return False
    network, x = copy.deepcopy(module).to("cpu", torch.float64).eval(), sample.to("cpu", torch.float64)
    generator = torch.Generator().manual_seed(0)
    parameters = {
        name: torch.randn(p.shape, dtype=torch.float64, generator=generator) / p.shape[-1] ** 0.5
        for name, p in network.named_parameters()
    }
    with torch.no_grad():
        given = _through_the_chain(parameters, layers, x)
        return given is not None and torch.allclose(functional_call(network, parameters, (x,)), given, 1e-9, 1e-12)


def _through_the_chain(parameters: Parameters, layers: Sequence[Layer], x: Tensor) -> Tensor | None:
    """The logits of the chain; None where its shapes don't fit."""
    h = x.flatten(1)
    for layer in layers:
        weight = parameters[layer.weight]
        if weight.shape[1:] != h.shape[1:]:
            return None
        h = h @ weight.T + (parameters[layer.bias] if layer.bias is not None else 0.0)
        if layer.activation is not None:
            h = layer.activation.module()(h)
    return h


def chain_weights(parameters: Parameters, layers: Sequence[Layer]) -> list[LayerWeights]:
    """One member's layers in float64, exactly as they are trained (in float32, say)."""
    return _weights({name: p.detach().to("cpu", torch.float64).numpy() for name, p in parameters.items()}, layers)


def _weights(arrays: Mapping[str, np.ndarray], layers: Sequence[Layer]) -> list[LayerWeights]:
    return [
        LayerWeights(
            weight := arrays[layer.weight], np.zeros(len(weight)) if layer.bias is None else arrays[layer.bias]
        )
        for layer in layers
    ]


def chain_symmetry(parameters: Parameters, layers: Sequence[Layer]) -> Symmetry | None:
    """The classes of one member of a chain; None where a parameter isn't finite."""
    return _symmetry(chain_weights(parameters, layers), layers)


def _symmetry(weights: Sequence[LayerWeights], layers: Sequence[Layer]) -> Symmetry | None:
    if not all(np.isfinite(part).all() for layer in weights for part in (layer.weight, layer.bias)):
        return None
    return find_symmetry(weights, odd=all(layer.activation.odd for layer in layers if layer.activation is not None))


def chain_prediction(symmetry: Symmetry, layers: Sequence[Layer]) -> Prediction:
    """The widths that a member of a chain is bound to have."""
    activations = [layer.activation for layer in layers if layer.activation is not None]
    return predict(symmetry, zero_at_zero=all(_zero_at_zero(a.name) for a in activations))


@cache
def _zero_at_zero(activation: str) -> bool:
    return float(ACTIVATIONS[activation].module()(torch.zeros(1))) == 0


def stack_symmetry(stack: Stack, layers: Sequence[Layer], sample: Tensor) -> list[Symmetry | None] | None:
    """The classes of each member as it stands; None for networks that are no chains.

    Args:
        sample: a batch of inputs, ``(rows, *input_shape)``.
    """
    if not is_chain(stack.module, layers, sample):
        return None
    parameters = {name: p[: len(stack)].detach() for name, p in stack.parameters.items()}
    arrays = {name: p.to("cpu", torch.float64).numpy() for name, p in parameters.items()}
    members = [_weights({name: a[i] for name, a in arrays.items()}, layers) for i in range(len(stack))]
    plain = _plain(parameters, layers).tolist()
    return [all_distinct(own) if seen else _symmetry(own, layers) for own, seen in zip(members, plain, strict=True)]


def _plain(parameters: Parameters, layers: Sequence[Layer]) -> Tensor:
    """Members that are finite and whose rows make every neuron a class at a glance, as random ones do: ``(S,)``."""
    finite = [p.flatten(1).abs().amax(1) < torch.inf for p in parameters.values()]
    distinct = [surely_distinct(rows_of(parameters, layer)) for layer in layers if layer.hidden]
    return torch.stack([*finite, *distinct]).all(0)
