"""What probes look at: the layers of S networks at one step, and what several probes share of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pipeline import native as kernels
from pipeline.activations import Activation
from pipeline.probes.copies import row_shares
from pipeline.probes.look import Look, look
from pipeline.probes.numeric import elementwise, norms, singular_values, variances

__all__ = ["LayerState", "Snapshot"]

# Of a layer: one entry a network.
FIELDS = ("weight", "bias", "gradient", "bias_gradient", "z", "a", "outgoing", "update_ratio", "start")


@dataclass(frozen=True)
class LayerState:
    """One layer of S networks at one step, in the dtype of their training. Units are neurons or channels.

    What several probes need is worked out once and kept, in float64 where sums or
    differences are taken of it.

    Attributes:
        weight: ``(S, units, fan_in)``. gradient: of the loss by it, the same shape.
        bias: ``(S, units)``, zeros where the layer has none. bias_gradient: likewise.
        z: pre-activations ``(S, samples, units)``; None for the output layer, and where nobody
            wants them but the kernels, which looked. Positions of a feature map count as samples, not
            all of them where they are many (``sample_step``).
        a: activations, the same shape.
        outgoing: what of the weights that read them belongs to each unit, ``(S, units, n)``;
            None where anything but pooling of each channel or flattening stands between.
        update_ratio: norm of the last update of the weight over its norm before, ``(S,)``;
            None before the first step.
        start: the activations at step 0; None unless they were asked for.
        native: whether the lab's kernels look at it: all is float32, contiguous and on the CPU.
        looked: at z and a, if they were already.
        again: computes the activations of some members, ``(k,)`` by their numbers, if they aren't kept.
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
    looked: Look | None = None
    again: Callable[[Tensor], Tensor] | None = None

    @property
    def units(self) -> int:
        return self.weight.shape[1]

    @cached_property
    def look(self) -> Look:
        """What z and a are like; hidden layers only."""
        if self.looked is not None:
            return self.looked
        assert self.activation is not None
        assert self.z is not None
        assert self.a is not None
        return look(self.z, self.a, self.activation)

    def activations(self, members: Tensor) -> Tensor:
        """Of some members, ``(k,)`` by their numbers: ``(k, samples, units)``; hidden layers only."""
        if self.a is not None:
            return self.a[members]
        assert self.again is not None
        return self.again(members)

    @cached_property
    def mean_slope(self) -> Tensor:
        """Of phi'(z) over samples, ``(S, units)`` in float64; hidden layers only."""
        if self.look.mean_slope is not None:
            return self.look.mean_slope
        assert self.activation is not None
        assert self.z is not None
        return elementwise(self.activation.slope, self.z).mean(1).to(torch.float64)

    @cached_property
    def flat(self) -> Tensor:
        """On how many samples the activation is flat, ``(S, units)`` in float64; hidden layers only."""
        assert self.activation is not None
        return self.look.inside(self.activation.flat_where)

    @cached_property
    def row_shares(self) -> tuple[Tensor, Tensor]:
        """Shares of units whose incoming row and bias copy no earlier unit's, and of those that copy any, ``(S,)``."""
        return row_shares(self.weight, self.native, self.bias)

    @cached_property
    def singular_values(self) -> Tensor:
        """Of the weight, up to a factor: ``(S, min(units, fan_in))`` in float64, rising."""
        return kernels.singular_values(self.weight) if self.native else singular_values(self.weight)

    @cached_property
    def gradient_size(self) -> tuple[Tensor, Tensor]:
        """Norm of the gradient by the weight, and variance of its entries, each ``(S,)`` in float64."""
        if self.native:
            squares, variance = kernels.sums(self.gradient)
            return squares.sqrt(), variance
        return norms(self.gradient), variances(self.gradient)

    def member(self, i: int, times: int = 1) -> "LayerState":
        """The layer of one network by itself, so many times; where kernels looked at it, once."""
        looked, again = self.looked, self.again
        tensors = {name: value for name, value in vars(self).items() if name in FIELDS and value is not None}
        own: dict[str, Any] = {name: _repeated(tensor, i, times) for name, tensor in tensors.items()}
        return replace(
            self,
            **own,
            looked=looked and looked.member(i),
            again=again and (lambda members: again(members + i)),
        )


def _repeated(tensor: Tensor, i: int, times: int) -> Tensor:
    return tensor[i : i + 1] if times == 1 else tensor[i : i + 1].repeat(times, *[1] * (tensor.ndim - 1))


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
            stack's dtype; the error, if it could not be taken; None unless it was asked for.
    """

    layers: list[LayerState]
    valid: Tensor
    update_ratio: Tensor | None = None
    jacobian: Tensor | Exception | None = None

    @property
    def hidden(self) -> list[LayerState]:
        return [layer for layer in self.layers if layer.activation is not None]

    def member(self, i: int, times: int = 1) -> "Snapshot":
        """One network by itself, so many times."""
        return Snapshot(
            [layer.member(i, times) for layer in self.layers],
            _repeated(self.valid, i, times),
            _repeated(self.update_ratio, i, times) if self.update_ratio is not None else None,
            _repeated(self.jacobian, i, times) if isinstance(self.jacobian, Tensor) else self.jacobian,
        )

    def started_at(self, start: Mapping[str, Tensor]) -> "Snapshot":
        """The same with the activations at step 0 of each hidden layer, by its name."""
        return replace(self, layers=[replace(layer, start=start.get(layer.name)) for layer in self.layers])
