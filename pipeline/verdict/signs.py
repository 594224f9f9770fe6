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
from typing import Any

import torch
from torch import Tensor

from pipeline.layers import Layer, is_sequential
from pipeline.probes import LayerState, Snapshot, take_snapshot
from pipeline.stack import ROW_BLOCK, Stack
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
    symmetry = stack_symmetry(stack, layers, x[:2])
    start = take_snapshot(stack, layers, x, y)
    labelled = take_snapshot(stack, layers, x, y, slope=-residual / len(x))
    hidden = start.hidden
    units = tuple(layer.units for layer in hidden)
    sequential = symmetry is not None or is_sequential(stack.module, layers, x[:2])
    inner = hidden[1:] or hidden
    shared: dict[str, Any] = {
        "classes": classes,
        "label_signal": float((residual.T @ x.flatten(1)).norm()) / len(x),
        "units": units,
        "seen_apart": _seen_apart(start) if sequential else tuple(1 for _ in hidden),
        "chain": symmetry is not None,
        "sequential": sequential,
        "normalised": any("running_mean" in name for name in stack.buffers),
        "activation": hidden[0].activation.name if hidden and hidden[0].activation else "",
    }
    own: dict[str, list[Any]] = {
        "finite": (start.valid & labelled.valid).tolist(),
        "strengths": _columns([_typical(layer.weight) for layer in start.layers], start),
        "slopes": _columns([_mean_slope(layer) for layer in hidden], start),
        "label_gradients": _columns(_gradients(labelled, stack, layers), start),
        "reached": [
            sum(g > REACHED * max(own) for g in own) for own in _columns(_gradients(start, stack, layers), start)
        ],
        "flat": _mean([layer.flat.mean(1) / layer.look.samples for layer in hidden], units, start),
        "dead_layers": [
            tuple(n for n, dead in enumerate(own, 1) if dead)
            for own in _columns([(layer.flat == layer.look.samples).all(1) for layer in hidden], start)
        ],
        "widths": _widths(start, symmetry, stack, layers, sequential),
        "sigma_w2": _mean([_mean_square(layer.weight) * layer.weight.shape[2] for layer in inner], None, start),
        "sigma_b2": _mean([_mean_square(layer.bias) for layer in inner], None, start),
    }
    members = zip(*own.values(), strict=True)
    return [Signs(**shared, **dict(zip(own, values, strict=True))) for values in members]


def _gradients(of: Snapshot, stack: Stack, layers: Sequence[Layer]) -> list[Tensor]:
    """Norms by the weights alone: biases shift all samples alike, and what is frozen doesn't move."""
    pairs = zip(of.layers, layers, strict=True)
    return [_norm(state.gradient) * (layer.weight in stack.trainable) for state, layer in pairs]


def _widths(
    of: Snapshot, symmetry: Sequence[Symmetry | None] | None, stack: Stack, layers: Sequence[Layer], sequential: bool
) -> list[tuple[int, ...]]:
    """Of the hidden layers of each member, as far as something is known of them; else their units."""
    units = tuple(layer.units for layer in of.hidden)
    if stack.masks.places or not sequential:  # dropout breaks ties that deterministic training keeps
        return [units] * len(stack)
    if symmetry is not None:
        return [tuple(chain_prediction(found, layers).widths) if found else units for found in symmetry]
    return [tuple(_distinct(layer, i) for layer in of.hidden) for i in range(len(stack))]


def _distinct(layer: LayerState, i: int) -> int:
    """Units less those that equal an earlier one in all that goes in and out, to the last bit."""
    assert layer.outgoing is not None
    own = [layer.weight[i], layer.bias[i][:, None], layer.outgoing[i]]
    return len(torch.cat(own, 1).unique(dim=0))  # type: ignore[no-untyped-call]


def _seen_apart(of: Snapshot) -> tuple[int, ...]:
    """From how many positions each hidden layer is read, apart."""
    pairs = pairwise(of.layers)
    return tuple(layer.outgoing.shape[2] // reader.units for layer, reader in pairs if layer.outgoing is not None)


def _mean_slope(layer: LayerState) -> Tensor:
    """Of phi'(z) over samples and units, ``(S,)``."""
    assert layer.activation is not None
    assert layer.z is not None
    z = layer.z.flatten(1)
    # In whole blocks a member's slopes don't depend on where it sits in the stack.
    blocks = torch.nn.functional.pad(z, (0, -z.shape[1] % ROW_BLOCK))
    slopes = layer.activation.slope(blocks)[:, : z.shape[1]].reshape(layer.z.shape)
    return slopes.mean(1).to(torch.float64).mean(1)


def _typical(weight: Tensor) -> Tensor:
    return _norm(weight) / math.sqrt(min(weight.shape[1:]))


def _norm(tensors: Tensor) -> Tensor:
    """Of each member's tensor, ``(S,)``. Scaled before squaring: gradients of 1e-200 are still gradients."""
    flat = tensors.flatten(1).to(torch.float64)
    largest = flat.abs().amax(1)
    return largest * (flat / torch.where(largest > 0, largest, 1.0)[:, None]).square().sum(1).sqrt()


def _mean_square(tensors: Tensor) -> Tensor:
    return tensors.flatten(1).to(torch.float64).square().mean(1)


def _columns(values: Sequence[Tensor], of: Snapshot) -> list[tuple[Any, ...]]:
    """One tuple a member of what each layer has, ``(S,)``; empty ones where there is no layer."""
    return list(zip(*(value.tolist() for value in values), strict=True)) if values else [()] * len(of.valid)


def _mean(values: Sequence[Tensor], weights: Sequence[int] | None, of: Snapshot) -> list[float]:
    """Over layers, 0 where there is none."""
    shares = list(weights or [1] * len(values))
    total = sum(
        (w * v for w, v in zip(shares, values, strict=True)), start=torch.zeros_like(of.valid, dtype=torch.float64)
    )
    means: list[float] = (total / max(sum(shares), 1)).tolist()
    return means
