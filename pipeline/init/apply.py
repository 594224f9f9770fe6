"""Applies a weight and a bias scheme to the parameters of one network."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.init.registry import BIASES, WEIGHTS, Fans
from pipeline.seeds import stream

__all__ = ["InitSpec", "initial_parameters"]


@dataclass(frozen=True)
class InitSpec:
    """How a member starts.

    Attributes:
        weight: a name in ``WEIGHTS``; ``scale`` (>= 0) multiplies what it samples.
        bias: a name in ``BIASES``; ``value`` is its constant or its spread.
    """

    weight: str = "glorot_normal"
    scale: float = 1.0
    bias: str = "zeros"
    value: float = 0.0


def initial_parameters(module: nn.Module, spec: InitSpec, seed: int) -> dict[str, Tensor]:
    """The parameters of ``module`` under ``spec``, in float64, for one member.

    A parameter of two or more dimensions is a weight. A one-dimensional ``bias`` beside
    such a weight is a bias. Everything else (the scales and shifts of normalisation
    layers) keeps the value that the module was built with. Each parameter draws from a
    stream of its own, so a layer's weights depend on the seed and its name alone.
    """
    parameters = dict(module.named_parameters())
    return {name: _initial(name, p.detach(), parameters, spec, seed) for name, p in parameters.items()}


def _initial(name: str, current: Tensor, parameters: dict[str, nn.Parameter], spec: InitSpec, seed: int) -> Tensor:
    if current.ndim >= 2:
        return spec.scale * WEIGHTS[spec.weight].sample(tuple(current.shape), stream(seed, name))
    owner, _, leaf = name.rpartition(".")
    weight = parameters.get(f"{owner}.weight" if owner else "weight")
    if leaf == "bias" and weight is not None and weight.ndim >= 2:
        fans = Fans.of(weight.shape)
        return BIASES[spec.bias].sample(current.numel(), fans, spec.value, stream(seed, name))
    return current.to(torch.float64).clone()
