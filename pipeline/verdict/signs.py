"""What a network shows at its start, as far as its verdict needs it.

All of it comes from the probe batch, a part of the training data, with two backward
passes: one of the loss, one of the *label loss* ``-sum_c R_c f_c``, where R are the labels
as one-hot rows less their mean. The second sees only what tells samples apart; a gradient
that could do no more than fit the frequencies of the classes is no sign of life.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from pipeline.layers import Layer, is_sequential
from pipeline.probes import LayerState, Snapshot, take_snapshot
from pipeline.stack import Stack
from pipeline.symmetry import Symmetry, chain_prediction, stack_symmetry

__all__ = ["Signs", "read_signs"]

REACHED = 1e-6
"""A gradient reaches a layer where its norm is above this share of the largest layer's."""


@dataclass(frozen=True)
class Signs:
    """One network before its first step.

    Attributes:
        finite: whether all it computes is.
        classes: of the data.
        strengths: for each weighted layer a typical singular value, ||W||_F / sqrt(min(shape)).
        slopes: for each hidden layer the mean of phi'(z) over samples and units.
        label_signal: norm of the covariance of inputs and labels, ||X^T R||_F / rows.
        label_gradients: for each weighted layer the norm of the label loss's gradient.
        reached: how many layers the gradient of the loss reaches.
        flat: share of (unit, sample) where the activation is flat.
        dead_layers: hidden layers, from 1, in which every unit is flat on every sample.
        units: for each hidden layer how many there are.
        widths: for each hidden layer how many distinct units there are for ever, settled by the
            symmetry of a chain. Of another sequential network at most so many: units with
            equal rows, biases and outgoing weights are copies for ever, others may be.
            Elsewhere, and under dropout, all that there are.
        seen_apart: for each hidden layer how many values of each unit the next layer weighs
            apart: 1 in a chain, the positions of a feature map that is flattened, the size of
            the kernel that reads it.
        chain: whether the network is a plain chain of linear layers and activations.
        sequential: whether it is layers, activations and poolings one after the other.
        normalised: whether it normalises by statistics of the batch, which it doesn't have yet.
        activation: of the first hidden layer; empty if there is none.
        sigma_w2, sigma_b2: mean squared weight times fan-in, and mean squared bias, over
            the hidden layers beyond the first (of the first if it is the only one).
    """

    finite: bool
    classes: int
    strengths: tuple[float, ...]
    slopes: tuple[float, ...]
    label_signal: float
    label_gradients: tuple[float, ...]
    reached: int
    flat: float
    dead_layers: tuple[int, ...]
    units: tuple[int, ...]
    widths: tuple[int, ...]
    seen_apart: tuple[int, ...]
    chain: bool
    sequential: bool
    normalised: bool
    activation: str
    sigma_w2: float
    sigma_b2: float

    @property
    def depth(self) -> int:
        """Hidden layers."""
        return len(self.slopes)


def read_signs(stack: Stack, layers: list[Layer], x: Tensor, y: Tensor, classes: int) -> list[Signs]:
    """The signs of each member of a stack.

    Args:
        x, y: the probe batch, ``(rows, *input_shape)`` and ``(rows,)``.
    """
    residual = torch.nn.functional.one_hot(y, classes).to(x.dtype)
    residual = residual - residual.mean(0)

    def label_loss(logits: Tensor) -> Tensor:
        return -(residual * logits).sum() / len(x)

    symmetry = stack_symmetry(stack, layers, x[:2])
    look = _Look(
        start=take_snapshot(stack, layers, x, y),
        labelled=take_snapshot(stack, layers, x, y, loss=label_loss),
        trained=[layer.weight in stack.trainable for layer in layers],
        classes=classes,
        signal=float((residual.T @ x.flatten(1)).norm()) / len(x),
        chain=symmetry is not None,
        sequential=symmetry is not None or is_sequential(stack.module, layers, x[:2]),
        normalised=any("running_mean" in name for name in stack.buffers),
    )
    return [look.member(i, _widths(look, i, symmetry, stack, layers)) for i in range(len(stack))]


def _widths(
    look: "_Look", i: int, symmetry: Sequence[Symmetry | None] | None, stack: Stack, layers: Sequence[Layer]
) -> Sequence[int] | None:
    """Of hidden layers, where something is known of them."""
    if stack.masks.places:  # dropout breaks ties that deterministic training keeps
        return None
    if symmetry is not None:
        found = symmetry[i]
        return chain_prediction(found, layers).widths if found else None
    return [_distinct(layer, i) for layer in look.start.hidden] if look.sequential else None


def _distinct(layer: LayerState, i: int) -> int:
    """Units less those that equal an earlier one in all that goes in and out, to the last bit."""
    assert layer.outgoing is not None
    return len(torch.cat([layer.rows[i], layer.outgoing[i]], 1).unique(dim=0))  # type: ignore[no-untyped-call]


@dataclass(frozen=True)
class _Look:
    """What is seen of a whole stack."""

    start: Snapshot
    labelled: Snapshot
    trained: Sequence[bool]
    classes: int
    signal: float
    chain: bool
    sequential: bool
    normalised: bool

    def member(self, i: int, widths: Sequence[int] | None) -> Signs:
        """The signs of one member."""
        start, hidden = self.start, self.start.hidden
        flat = [_flat(layer, i) for layer in hidden]
        units = tuple(layer.units for layer in hidden)
        gradients = self._gradients(start, i)
        inner = hidden[1:] or hidden
        return Signs(
            finite=bool(start.valid[i] and self.labelled.valid[i]),
            classes=self.classes,
            strengths=tuple(_typical(layer.weight[i]) for layer in start.layers),
            slopes=tuple(_mean_slope(layer, i) for layer in hidden),
            label_signal=self.signal,
            label_gradients=self._gradients(self.labelled, i),
            reached=sum(g > REACHED * max(gradients) for g in gradients),
            flat=sum(float(f.double().sum()) / len(f) for f in flat) / sum(units) if units else 0.0,
            dead_layers=tuple(n for n, f in enumerate(flat, 1) if bool(f.all())),
            units=units,
            widths=tuple(widths or units),
            seen_apart=self._seen_apart(),
            chain=self.chain,
            sequential=self.sequential,
            normalised=self.normalised,
            activation=hidden[0].activation.name if hidden and hidden[0].activation else "",
            sigma_w2=_mean([float(layer.weight[i].square().mean()) * layer.weight.shape[2] for layer in inner]),
            sigma_b2=_mean([float(layer.bias[i].square().mean()) for layer in inner]),
        )

    def _seen_apart(self) -> tuple[int, ...]:
        if not self.sequential:
            return tuple(1 for _ in self.start.hidden)
        pairs = pairwise(self.start.layers)
        return tuple(layer.outgoing.shape[2] // reader.units for layer, reader in pairs if layer.outgoing is not None)

    def _gradients(self, of: Snapshot, i: int) -> tuple[float, ...]:
        """Norms by the weights alone: biases shift all samples alike, and what is frozen doesn't move."""
        pairs = zip(of.layers, self.trained, strict=True)
        return tuple(_norm(layer.gradient[i]) if moves else 0.0 for layer, moves in pairs)


def _flat(layer: LayerState, i: int) -> Tensor:
    """``(samples, units)`` booleans."""
    assert layer.activation is not None
    assert layer.z is not None
    return layer.activation.flat(layer.z[i])


def _mean_slope(layer: LayerState, i: int) -> float:
    assert layer.activation is not None
    assert layer.z is not None
    return float(layer.activation.slope(layer.z[i]).mean())


def _typical(weight: Tensor) -> float:
    return _norm(weight) / math.sqrt(min(weight.shape))


def _norm(tensor: Tensor) -> float:
    """Scaled before squaring: gradients of 1e-200 are still gradients."""
    largest = float(tensor.abs().max())
    return largest * float((tensor / largest).norm()) if largest > 0 else 0.0


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
