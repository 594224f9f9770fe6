"""What probes look at: the layers of S networks at one step, and what several probes share of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from pipeline.activations import Activation, Intervals
from pipeline.probes.copies import row_shares
from pipeline.probes.numeric import Spread, count_above, singular_values

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

    @property
    def units(self) -> int:
        return self.weight.shape[1]

    @property
    def samples(self) -> int:
        """Of a hidden layer: probe rows times positions."""
        assert self.z is not None
        return self.z.shape[1]

    @cached_property
    def _counts(self) -> dict[float, Tensor]:
        return {}

    def above(self, threshold: float) -> Tensor:
        """On how many samples z is above a threshold, ``(S, units)`` in float64; hidden layers only."""
        assert self.z is not None
        if threshold not in self._counts:
            self._counts[threshold] = count_above(self.z, threshold)
        return self._counts[threshold]

    def inside(self, intervals: Intervals) -> Tensor:
        """On how many samples z is in one of the intervals, likewise."""
        found = torch.zeros_like(self.bias, dtype=torch.float64)
        for low, high in intervals:
            found += self.samples if low == -torch.inf else self.above(low)
            found -= 0 if high == torch.inf else self.above(high)
        return found

    @cached_property
    def flat(self) -> Tensor:
        """On how many samples the activation is flat, likewise."""
        assert self.activation is not None
        return self.inside(self.activation.flat_where)

    @cached_property
    def mean_size(self) -> Tensor:
        """Mean absolute activation of each unit, ``(S, units)`` in float64; hidden layers only."""
        assert self.a is not None
        return self.a.abs().mean(1).to(torch.float64)

    @cached_property
    def spread(self) -> Spread:
        """How the activations vary; hidden layers only."""
        assert self.a is not None
        return Spread.of(self.a)

    @cached_property
    def row_shares(self) -> tuple[Tensor, Tensor]:
        """Shares of units whose incoming row and bias copy no earlier unit's, and of those that copy any, ``(S,)``."""
        return row_shares(torch.cat([self.weight, self.bias[..., None]], -1))

    @cached_property
    def singular_values(self) -> Tensor:
        """Of the weight, up to a factor: ``(S, min(units, fan_in))`` in float64, rising."""
        return singular_values(self.weight)

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
