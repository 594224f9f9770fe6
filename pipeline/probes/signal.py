"""Signal: how much gradient reaches the first layer, and how large the steps are."""

import torch
from torch import Tensor

from pipeline.probes.registry import network_probe
from pipeline.probes.snapshot import LayerState, Snapshot

__all__ = ["gradient_ratio", "update_ratio"]


def _gradient_norm(layer: LayerState) -> Tensor:
    """Norm of the gradient by all the layer's parameters, ``(S,)``."""
    gradient = torch.cat([layer.gradient, layer.bias_gradient[..., None]], -1).flatten(1)
    # Scaled before squaring: gradients of 1e-200 are still gradients.
    largest = gradient.abs().amax(1)
    scale = torch.where(largest > 0, largest, 1.0)
    norm: Tensor = scale * (gradient / scale[:, None]).norm(dim=1)
    return norm


@network_probe(
    "signal/gradient_ratio",
    "Gradient norm of the first layer's parameters over that of the last's; 0 if none reaches the first.",
)
def gradient_ratio(snapshot: Snapshot) -> Tensor | None:
    if len(snapshot.layers) < 2:
        return None
    first, last = _gradient_norm(snapshot.layers[0]), _gradient_norm(snapshot.layers[-1])
    return torch.where(first == 0, 0.0, first / last)


@network_probe(
    "signal/update_ratio",
    "Norm of the last update over the norm of the parameters it was added to, weights only.",
)
def update_ratio(snapshot: Snapshot) -> Tensor | None:
    return snapshot.update_ratio
