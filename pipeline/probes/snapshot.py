"""Everything a probe may look at, measured once for a whole stack on the probe batch."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.func import functional_call, grad, vjp, vmap

from pipeline.activations import Activation
from pipeline.layers import Layer, Recorder, activation_paths
from pipeline.stack import ROW_BLOCK, Parameters, Stack, padded_size

__all__ = ["LayerState", "Snapshot", "sample_step", "take_snapshot"]

JACOBIAN_ROWS = ROW_BLOCK
# Of a feature map, (row, position) pairs that are looked at, at most.
SAMPLES = 4096


@dataclass(frozen=True)
class LayerState:
    """One layer of S networks at one step, in float64. Units are neurons or channels.

    Attributes:
        weight: ``(S, units, fan_in)``. gradient: of the loss by it, the same shape.
        bias: ``(S, units)``, zeros where the layer has none. bias_gradient: likewise.
        z: pre-activations ``(S, samples, units)``; None for the output layer. Positions of
            a feature map count as samples, up to ``SAMPLES`` of them (``sample_step``).
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

    @cached_property
    def flat(self) -> Tensor:
        """Where the activation is flat, ``(S, samples, units)`` booleans; hidden layers only."""
        assert self.activation is not None
        assert self.z is not None
        return self.activation.flat(self.z)

    @property
    def rows(self) -> Tensor:
        """Incoming row and bias of each unit, ``(S, units, fan_in + 1)``."""
        return torch.cat([self.weight, self.bias[..., None]], -1)

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


def take_snapshot(
    stack: Stack,
    layers: list[Layer],
    x: Tensor,
    y: Tensor,
    update_ratio: Tensor | None = None,
    *,
    layer_ratios: Mapping[str, Tensor] | None = None,
    jacobian: bool = False,
    loss: Callable[[Tensor], Tensor] | None = None,
) -> Snapshot:
    """Measures a stack on the probe batch ``x (rows, *input_shape)``, ``y (rows,)``.

    Args:
        layer_ratios: the update ratio of each layer, by its name.
        jacobian: whether to take it, on the first ``JACOBIAN_ROWS`` rows.
        loss: of one member's logits ``(rows, classes)``, whose gradients are taken; None:
            cross-entropy with ``y``.
    """
    recorder = Recorder(stack.module, activation_paths(stack.module))
    stack.module.eval()

    def one(parameters: Parameters, buffers: Parameters, x: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        with recorder.recording() as calls:
            logits = functional_call(stack.module, (parameters, buffers), (x,))
        signals = [(z, a) for _, z, a in calls]
        return loss(logits) if loss else torch.nn.functional.cross_entropy(logits, y), signals

    parameters, buffers = _padded(stack, len(x))
    batch = x.expand(padded_size(stack.size, len(x)), *x.shape)
    gradients, signals = vmap(grad(one, has_aux=True))(parameters, buffers, batch)
    states = [_state(layer, stack, gradients, signals) for layer in layers]
    finite = [_finite(t) for state in states for t in _tensors(state).values()]
    valid = torch.stack(finite).all(0) if finite else torch.ones(len(stack), dtype=torch.bool)
    states = [_zeroed(state, valid) for state in states]
    weights = {layer.weight: state.weight for layer, state in zip(layers, states, strict=True)}
    states = [
        replace(
            state,
            outgoing=_outgoing(layer, state.units, weights),
            update_ratio=(layer_ratios or {}).get(layer.name),
        )
        for layer, state in zip(layers, states, strict=True)
    ]
    return Snapshot(states, valid, update_ratio, _jacobian(stack, x[:JACOBIAN_ROWS]) if jacobian else None)


def _padded(stack: Stack, rows: int) -> tuple[Parameters, Parameters]:
    """Parameters and buffers with as many more copies of the first member as keep bits independent of the stack."""
    spare = padded_size(stack.size, rows) - stack.size

    def more(tensors: Parameters) -> Parameters:
        return {name: torch.cat([t, t[:1].expand(spare, *t.shape[1:])]) for name, t in tensors.items()}

    return (more(stack.parameters), more(stack.buffers)) if spare else (stack.parameters, stack.buffers)


def _outgoing(layer: Layer, units: int, weights: Mapping[str, Tensor]) -> Tensor | None:
    """``(S, units, n)``: a reader's fan-in holds unit after unit, each with all its positions."""
    if not layer.readers:
        return None
    read = [weights[name] for name in layer.readers]
    by_unit = [w.reshape(*w.shape[:2], units, -1).movedim(2, 1).flatten(2) for w in read]
    return torch.cat(by_unit, -1)


def _jacobian(stack: Stack, x: Tensor) -> Tensor:
    """``(S, rows, classes, inputs)``. Rows don't mix in evaluation mode, so one backward pass
    of a logit summed over all rows gives each row its own gradient."""

    def one(parameters: Parameters, buffers: Parameters, x: Tensor) -> Tensor:
        logits, pull = vjp(lambda x: functional_call(stack.module, (parameters, buffers), (x,)), x)[:2]
        classes = logits.shape[-1]
        chosen = torch.eye(classes, dtype=x.dtype, device=x.device)[:, None].expand(classes, len(x), classes)
        by_class: Tensor = vmap(pull)(chosen)[0]
        return by_class.movedim(0, 1).flatten(2)

    batch = x.expand(padded_size(stack.size, len(x)), *x.shape)
    jacobian: Tensor = vmap(one)(*_padded(stack, len(x)), batch)
    return jacobian[: len(stack)].detach()


def _tensors(state: LayerState) -> dict[str, Tensor]:
    return {name: t for name, t in vars(state).items() if isinstance(t, Tensor)}


def _finite(tensor: Tensor) -> Tensor:
    return tensor.flatten(1).isfinite().all(1)


def _zeroed(state: LayerState, valid: Tensor) -> LayerState:
    if valid.all():
        return state
    keep = {name: t.where(valid.reshape(-1, *[1] * (t.ndim - 1)), 0.0) for name, t in _tensors(state).items()}
    return replace(state, **keep)  # type: ignore[arg-type]


def _state(layer: Layer, stack: Stack, gradients: Parameters, signals: list[tuple[Tensor, Tensor]]) -> LayerState:
    count = len(stack)

    def flat(tensors: Parameters, name: str) -> Tensor:
        return tensors[name][:count].detach().to(torch.float64).flatten(2)

    weight = flat(stack.parameters, layer.weight)
    no_bias = weight.new_zeros(weight.shape[:2])
    z, a = (None, None)
    if layer.hidden:
        z, a = (_by_unit(t[:count], weight.shape[1]) for t in signals[layer.call])
    return LayerState(
        name=layer.name,
        activation=layer.activation,
        weight=weight,
        bias=stack.parameters[layer.bias][:count].detach().to(torch.float64) if layer.bias else no_bias,
        gradient=flat(gradients, layer.weight),
        bias_gradient=gradients[layer.bias][:count].to(torch.float64) if layer.bias else no_bias,
        z=z,
        a=a,
    )


def _by_unit(signal: Tensor, units: int) -> Tensor:
    """``(S, rows, ...)`` to float64 ``(S, samples, units)``: channels are axis 2 of a feature map."""
    signal = signal.detach()
    axis = 2 if signal.shape[2] == units else signal.ndim - 1
    samples = signal.movedim(axis, -1).flatten(1, -2)
    step = sample_step(signal.shape[1], samples.shape[1] // signal.shape[1])
    return samples[:, ::step].to(torch.float64)


def sample_step(rows: int, positions: int) -> int:
    """Every which (row, position) of feature maps is looked at, counted position by position, row by row.

    The smallest step that leaves at most ``SAMPLES`` and has no divisor in common with the
    number of positions: each row is looked at in other places, and no place is left out.
    """
    if positions == 1:
        return 1
    step = -(-rows * positions // SAMPLES)
    while math.gcd(step, positions) > 1:
        step += 1
    return step
