"""How large updates are beside the weights that they are added to."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline import native as kernels
from pipeline.layers import Layer
from pipeline.stack import Parameters, Stack

__all__ = ["update_ratios"]


def update_ratios(stack: Stack, updates: Parameters, layers: Sequence[Layer]) -> tuple[Tensor, dict[str, Tensor]]:
    """Norm of the update over the norm of the weights it was added to, ``(stack.looked,)``; 0 if neither moved.

    Args:
        updates: what was added to the parameters as they are now.
        layers: whose weights count; those that no optimiser moves don't.

    Returns:
        Of all weights together, and of each layer by its name; on the stack's device.
    """
    none = torch.zeros(stack.looked, dtype=torch.float64, device=stack.device)
    squares = {layer.name: (none, none) for layer in layers}
    squares |= {layer.name: _squares(stack, updates, layer) for layer in layers if layer.weight in updates}
    moved, before = (
        (sum(parts, start=none) for parts in zip(*squares.values(), strict=True)) if layers else (none, none)
    )
    return _ratio(moved, before), {name: _ratio(*parts) for name, parts in squares.items()}


def _squares(stack: Stack, updates: Parameters, layer: Layer) -> tuple[Tensor, Tensor]:
    """Squared norms of a weight's update and of the weight before it, each ``(S,)``."""
    change, weight = updates[layer.weight], stack.parameters[layer.weight]
    if stack.native:
        return kernels.sums_of_change(change, weight)
    update, after = (t[: stack.looked].detach().flatten(1).to(torch.float64) for t in (change, weight))
    return update.square().sum(1), (after - update).square().sum(1)


def _ratio(moved: Tensor, before: Tensor) -> Tensor:
    return torch.where(moved == 0, 0.0, (moved / before).sqrt())
