"""Applies a weight and a bias scheme, or one for each place, to one network's parameters."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from pipeline.init.fit import FitData, fitted
from pipeline.init.registry import BIASES, WEIGHTS, Role, Slot
from pipeline.layers import trace_layers

__all__ = ["InitSpec", "initial_parameters", "roles"]


@dataclass(frozen=True)
class InitSpec:
    """How a member starts.

    Attributes:
        weight: a name in ``WEIGHTS``; ``scale`` (>= 0) multiplies what it samples.
        bias: a name in ``BIASES``; ``value`` is its constant or its spread.
        weight_layers: ``{role: (scheme, scale)}`` for places that have a scheme of their own.
        bias_layers: ``{role: (scheme, value)}``, likewise.
    """

    weight: str = "glorot_normal"
    scale: float = 1.0
    bias: str = "zeros"
    value: float = 0.0
    weight_layers: Mapping[Role, tuple[str, float]] = field(default_factory=dict)
    bias_layers: Mapping[Role, tuple[str, float]] = field(default_factory=dict)

    def weight_at(self, role: Role) -> tuple[str, float]:
        """Scheme and scale of the weights at a place."""
        return self.weight_layers.get(role, (self.weight, self.scale))

    def bias_at(self, role: Role) -> tuple[str, float]:
        """Scheme and value of the biases at a place."""
        return self.bias_layers.get(role, (self.bias, self.value))


def roles(module: nn.Module) -> dict[str, Role]:
    """``{weight's name: role}`` of every weight, in the order in which the module defines them."""
    return _roles(dict(module.named_parameters()))


def _roles(parameters: Mapping[str, nn.Parameter]) -> dict[str, Role]:
    weights = [name for name, p in parameters.items() if p.ndim >= 2]
    found: dict[str, Role] = dict.fromkeys(weights, "hidden")
    if weights:
        found[weights[0]] = "first"
        found[weights[-1]] = "last"
    return found


def initial_parameters(module: nn.Module, spec: InitSpec, seed: int, data: FitData | None = None) -> dict[str, Tensor]:
    """The parameters of ``module`` under ``spec``, in float64, for one member.

    A parameter of two or more dimensions is a weight. A one-dimensional ``bias`` beside
    such a weight is a bias. Everything else (the scales and shifts of normalisation
    layers) keeps the value that the module was built with. Each parameter draws from a
    stream of its own, so a layer's weights depend on the seed and its name alone.

    Args:
        data: training data for the data-dependent schemes.

    Raises:
        ValueError: a data-dependent scheme without ``data``.
    """
    parameters = dict(module.named_parameters())
    places = _roles(parameters)
    sampled = {name: _sampled(name, parameters, places, spec, seed) for name in parameters}
    return _fitted(module, places, sampled, spec, data)


def _sampled(
    name: str, parameters: Mapping[str, nn.Parameter], places: Mapping[str, Role], spec: InitSpec, seed: int
) -> Tensor:
    current = parameters[name].detach()
    if not parameters[name].requires_grad:
        return current.to(torch.float64).clone()  # frozen by whoever wrote the network
    if name in places:
        scheme, scale = spec.weight_at(places[name])
        return scale * WEIGHTS[scheme].sample(Slot(tuple(current.shape), places[name], seed, name))
    weight = _weight_beside(name)
    if weight in places:
        scheme, value = spec.bias_at(places[weight])
        return BIASES[scheme].sample(Slot(tuple(parameters[weight].shape), places[weight], seed, name), value)
    return current.to(torch.float64).clone()


def _weight_beside(name: str) -> str:
    """The name of the weight that a parameter is the bias of; empty for what is no bias."""
    owner, _, leaf = name.rpartition(".")
    return "" if leaf != "bias" else f"{owner}.weight" if owner else "weight"


def _fitted(
    module: nn.Module, places: dict[str, Role], sampled: dict[str, Tensor], spec: InitSpec, data: FitData | None
) -> dict[str, Tensor]:
    weights = {name: spec.weight_at(role) for name, role in places.items()}
    biases = {name: spec.bias_at(role)[0] for name, role in places.items()}
    lsuv = {name: scale for name, (scheme, scale) in weights.items() if WEIGHTS[scheme].fitted}
    from_data = {name: scheme for name, scheme in biases.items() if BIASES[scheme].fitted}
    if not lsuv and not from_data:
        return sampled
    if data is None:
        raise ValueError("a data-dependent scheme needs training data")
    network = copy.deepcopy(module).double().cpu()
    layers = trace_layers(network, data.x[:2])
    by_layer = {layer.weight: layer.name for layer in layers}
    return fitted(
        network,
        layers,
        sampled,
        data,
        {by_layer[name]: scale for name, scale in lsuv.items() if name in by_layer},
        {by_layer[name]: scheme for name, scheme in from_data.items() if name in by_layer},
    )
