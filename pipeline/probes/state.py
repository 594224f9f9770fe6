"""What probes look at: the layers of S networks at one step, and what several probes share of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pipeline import native as kernels
from pipeline.activations import Activation
from pipeline.probes.copies import row_shares
from pipeline.probes.look import Look, look
from pipeline.probes.numeric import singular_values

__all__ = ["LayerState", "Snapshot"]


@dataclass(frozen=True)
class LayerState:
    """One layer of S networks at one step, in the dtype of their training. Units are neurons or channels.

    What several probes need is worked out once and kept, in float64 where sums or
    differences are taken of it.

    Attributes:
        weight: ``(S, units, fan_in)``. gradient: of the loss by it, the same shape.
        bias: ``(S, units)``, zeros where the layer has none. bias_gradient: likewise.
        z: pre-activations ``(S, samples, units)``; None for the output layer. Positions of
            a feature map count as samples, not all of them where they are many (``sample_step``).
        a: activations, the same shape.
        outgoing: what of the weights that read them belongs to each unit, ``(S, units, n)``;
            None where anything but pooling of each channel or flattening stands between.
        update_ratio: norm of the last update of the weight over its norm before, ``(S,)``;
            None before the first step.
        start: the activations at step 0; None unless they were asked for.
        native: whether the lab's kernels look at it: all is float32, contiguous and on the CPU.
    """

    name: str
    activation: Activation | None
    weight: Tensor
    bias: Tensor
    gradient: Tensor
    bias_gradient: Tensor
    z: Tensor | None
    a: Tensor | None
    outgoing: Tensor | None = None
    update_ratio: Tensor | None = None
    start: Tensor | None = None
    native: bool = False

    @property
    def units(self) -> int:
        return self.weight.shape[1]

    @cached_property
    def look(self) -> Look:
        """What z and a are like; hidden layers only."""
        assert self.activation is not None
        assert self.z is not None
        assert self.a is not None
        return look(self.z, self.a, self.activation, self.native)

    @cached_property
    def flat(self) -> Tensor:
        """On how many samples the activation is flat, ``(S, units)`` in float64; hidden layers only."""
        assert self.activation is not None
        return self.look.inside(self.activation.flat_where)

    @cached_property
    def row_shares(self) -> tuple[Tensor, Tensor]:
        """Shares of units whose incoming row and bias copy no earlier unit's, and of those that copy any, ``(S,)``."""
        return row_shares(torch.cat([self.weight, self.bias[..., None]], -1), self.native)

    @cached_property
    def singular_values(self) -> Tensor:
        """Of the weight, up to a factor: ``(S, min(units, fan_in))`` in float64, rising."""
        return kernels.singular_values(self.weight) if self.native else singular_values(self.weight)

    @property
    def gradient_rows(self) -> Tensor:
        """Gradient by incoming row and bias of each unit, ``(S, units, fan_in + 1)``."""
        return torch.cat([self.gradient, self.bias_gradient[..., None]], -1)


@dataclass(frozen=True)
class Snapshot:
    """S networks at one step.

    Attributes:
        layers: all weighted layers in order of execution.
        valid: ``(S,)``, False where a network has diverged: its tensors here are zeros and
            what a probe finds there means nothing.
        update_ratio: norm of the last update over norm of the weights, ``(S,)``; None
            before the first step.
        jacobian: of the logits by the inputs, ``(S, samples, classes, inputs)``, in the
            stack's dtype; None unless it was asked for.
    """

    layers: list[LayerState]
    valid: Tensor
    update_ratio: Tensor | None = None
    jacobian: Tensor | None = None

    @property
    def hidden(self) -> list[LayerState]:
        return [layer for layer in self.layers if layer.activation is not None]

    def started_at(self, start: Mapping[str, Tensor]) -> "Snapshot":
        """The same with the activations at step 0 of each hidden layer, by its name."""
        return replace(self, layers=[replace(layer, start=start.get(layer.name)) for layer in self.layers])
