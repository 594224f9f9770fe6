"""Training as exact arithmetic would have it: gradients that break no tie.

Every gradient is replaced by its mean over the entries that the classes make equal, so
round-off has no part in what then becomes of a tie.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline.layers import Layer
from pipeline.stack import Parameters, Stack
from pipeline.symmetry.chain import chain_symmetry, is_chain
from pipeline.symmetry.classes import Symmetry

__all__ = ["Projection"]

Side = tuple[np.ndarray, np.ndarray]
"""Classes and signs of the units on one side of a weight."""


class Projection:
    """Averages the gradients of a stack over the classes that its members have now.

    Args:
        layers: as ``trace_layers`` finds them.
        sample: a batch of inputs, ``(rows, *input_shape)``.

    Raises:
        ValueError: the networks are no chains (``is_chain``).
    """

    def __init__(self, stack: Stack, layers: Sequence[Layer], sample: Tensor) -> None:
        if not is_chain(stack.module, layers, sample):
            raise ValueError("ties can be kept in MLPs only")
        found = [chain_symmetry(_slot(stack, i), layers) for i in range(stack.size)]
        self.groups: dict[str, Tensor] = {}
        self.signs: dict[str, Tensor] = {}
        for position, layer in enumerate(layers):
            sides = [_sides(symmetry, position, stack.parameters[layer.weight][0]) for symmetry in found]
            self._add(layer.weight, [_pairs(*pair) for pair in sides], stack)
            if layer.bias is not None:
                self._add(layer.bias, [out for out, _ in sides], stack)

    def _add(self, name: str, sides: list[Side], stack: Stack) -> None:
        device, dtype = stack.parameters[name].device, stack.parameters[name].dtype
        start = np.cumsum([0, *[int(groups.max()) + 1 for groups, _ in sides]])
        groups = np.stack([groups + s for (groups, _), s in zip(sides, start[:-1], strict=True)])
        self.groups[name] = torch.as_tensor(groups, device=device).flatten()
        self.signs[name] = torch.as_tensor(np.stack([s for _, s in sides]), device=device, dtype=dtype).flatten()

    def __call__(self, gradients: Parameters) -> Parameters:
        """``{name: (S, *shape)}`` to the same, equal wherever a class makes it so."""
        return gradients | {name: self._averaged(name, gradients[name]) for name in self.groups}

    def _averaged(self, name: str, gradient: Tensor) -> Tensor:
        groups, signs = self.groups[name], self.signs[name]
        count = torch.bincount(groups)
        sums = gradient.new_zeros(len(count)).index_add_(0, groups, signs * gradient.flatten())
        return (signs * (sums / count)[groups]).reshape(gradient.shape)


def _slot(stack: Stack, index: int) -> Parameters:
    return {name: p[index] for name, p in stack.parameters.items()}


def _sides(symmetry: Symmetry | None, position: int, weight: Tensor) -> tuple[Side, Side]:
    """Outputs and inputs of a weight; units of their own where there are no classes."""
    out, inp = (_units(n) for n in weight.shape)
    if symmetry is None:
        return out, inp
    hidden = list(zip(symmetry.classes, symmetry.signs, strict=True))
    return (hidden[position] if position < len(hidden) else out, hidden[position - 1] if position > 0 else inp)


def _units(count: int) -> Side:
    return np.arange(count), np.ones(count, dtype=np.int64)


def _pairs(out: Side, inp: Side) -> Side:
    """Classes and signs of the entries of a weight, ``(out, in)``."""
    return out[0][:, None] * (inp[0].max() + 1) + inp[0], out[1][:, None] * inp[1]
