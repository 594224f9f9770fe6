"""The data-dependent schemes: layer by layer, on training data only.

A weighted layer's output is ``W x + b``, so dividing W by the deviation of ``W x`` makes
that deviation 1 exactly: what Mishkin & Matas iterate for takes one step.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call

from pipeline.layers import Layer, Recorder

__all__ = ["FitData", "fit_biases", "fit_weights", "fitted"]

ROWS = 4096  # of the training part that are looked at
# Where layers have positions, which count as samples, fewer rows do: no layer is looked at
# in more (row, position) pairs than these, unless in the least number of rows.
SAMPLES, LEAST_ROWS = 2**18, 256


@dataclass(frozen=True)
class FitData:
    """The training part, as far as it is needed: ``x (rows, *input_shape)``, ``y (rows,)``."""

    x: Tensor
    y: Tensor
    n_classes: int

    @classmethod
    def of(cls, x: Tensor, y: Tensor, n_classes: int) -> "FitData":
        return cls(x[:ROWS].cpu().double(), y[:ROWS].cpu(), n_classes)


def fitted(
    module: nn.Module,
    layers: list[Layer],
    parameters: dict[str, Tensor],
    data: FitData,
    weights: dict[str, float],
    biases: dict[str, str],
) -> dict[str, Tensor]:
    """Parameters after the data-dependent schemes have had their way, from the first layer to the last.

    Args:
        module: the structure, in float64. layers: in order of execution.
        weights: ``{layer: target deviation}`` of the layers under LSUV.
        biases: ``{layer: scheme}`` of the layers under a data-dependent bias scheme.
    """
    parameters = dict(parameters)
    data = replace(data, x=data.x[: max(SAMPLES // _positions(module, layers, data.x[:2]), LEAST_ROWS)])
    for layer in layers:
        if layer.name in weights:
            fit_weights(module, layer, parameters, data, weights[layer.name])
        if layer.name in biases and layer.bias is not None:
            fit_biases(module, layer, parameters, data, biases[layer.name], last=layer is layers[-1])
    return parameters


def fit_weights(module: nn.Module, layer: Layer, parameters: dict[str, Tensor], data: FitData, target: float) -> None:
    """Rescales a layer's weights so that ``W x`` has standard deviation ``target``; one without variance stays."""
    deviation = float(_products(module, layer, parameters, data).std(correction=0))
    if deviation > 0:
        parameters[layer.weight] = parameters[layer.weight] * (target / deviation)


def fit_biases(
    module: nn.Module, layer: Layer, parameters: dict[str, Tensor], data: FitData, scheme: str, last: bool
) -> None:
    """Sets a layer's biases from the data."""
    assert layer.bias is not None
    if scheme == "log_prior" and last:
        counts = torch.bincount(data.y, minlength=data.n_classes).double()
        # A class that these rows lack counts as half a row, so that its log is finite.
        parameters[layer.bias] = (counts.clamp(min=0.5) / counts.sum()).log()
    elif scheme == "data_centred":
        parameters[layer.bias] = -_products(module, layer, parameters, data).mean(1)


def _positions(module: nn.Module, layers: list[Layer], x: Tensor) -> int:
    """Of the largest feature map; 1 where there is none."""
    recorder = Recorder(module, [layer.name for layer in layers])
    with torch.no_grad(), recorder.recording() as calls:
        module(x)
    units = {layer.name: module.get_parameter(layer.weight).shape[0] for layer in layers}
    return max((output[0].numel() // units[name] for name, _, output in calls), default=1)


def _products(module: nn.Module, layer: Layer, parameters: dict[str, Tensor], data: FitData) -> Tensor:
    """``W x`` of a layer on the data, ``(units, samples)``."""
    without_bias = parameters | ({layer.bias: torch.zeros_like(parameters[layer.bias])} if layer.bias else {})
    recorder = Recorder(module, [layer.name])
    with torch.no_grad(), recorder.recording() as calls:
        functional_call(module, without_bias, (data.x,))
    output = calls[0][2]
    units = parameters[layer.weight].shape[0]
    axis = 1 if output.shape[1] == units else output.ndim - 1
    return output.movedim(axis, 0).flatten(1)
