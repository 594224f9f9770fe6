"""Takes a snapshot of a whole stack on the probe batch: one forward and backward pass."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor
from torch.func import functional_call, grad, vjp, vmap

from pipeline.free import is_out_of_memory
from pipeline.layers import Layer, Recorder, activation_paths
from pipeline.probes.look import Look, sought
from pipeline.probes.state import LayerState, Snapshot
from pipeline.stack import ROW_BLOCK, Parameters, Pass, Stack, padded_size

__all__ = ["sample_step", "snapshot_of", "take_snapshot"]

JACOBIAN_ROWS = ROW_BLOCK
# Of a feature map, (row, position) pairs that are looked at, at most.
SAMPLES = 4096


def take_snapshot(
    stack: Stack,
    layers: list[Layer],
    x: Tensor,
    y: Tensor,
    update_ratio: Tensor | None = None,
    *,
    layer_ratios: Mapping[str, Tensor] | None = None,
    jacobian: bool = False,
    slope: Tensor | None = None,
    signals: bool = True,
) -> Snapshot:
    """Measures a stack on the probe batch ``x (rows, *input_shape)``, ``y (rows,)``.

    Args:
        layer_ratios: the update ratio of each layer, by its name.
        jacobian: whether to take it, on the first ``JACOBIAN_ROWS`` rows.
        slope: the gradient by the logits, ``(rows, classes)``, of a loss that is linear in them,
            in place of the cross-entropy with ``y``.
        signals: whether z and a of the layers are wanted themselves (``needs_signals``).
    """
    recorder = Recorder(stack.module, activation_paths(stack.module))
    stack.module.eval()

    def one(parameters: Parameters, buffers: Parameters, x: Tensor) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        with recorder.recording() as calls:
            logits = functional_call(stack.module, (parameters, buffers), (x,))
        signals = [(z, a) for _, z, a in calls]
        loss = torch.nn.functional.cross_entropy(logits, y) if slope is None else (slope * logits).sum()
        return loss, signals

    wanted = [sought(layer.activation, len(x)) for layer in layers if layer.activation is not None]
    passed = stack.passed(x, y, wanted, slope, signals)
    if passed is None:
        parameters, buffers = _padded(stack, len(x))
        batch = x.expand(padded_size(stack.size, len(x)), *x.shape)
        passed = Pass(*vmap(grad(one, has_aux=True))(parameters, buffers, batch))
    jacobians = _attempted_jacobian(stack, x[:JACOBIAN_ROWS]) if jacobian else None
    return snapshot_of(stack, layers, passed, update_ratio, layer_ratios or {}, jacobians)


def snapshot_of(
    stack: Stack,
    layers: Sequence[Layer],
    passed: Pass,
    update_ratio: Tensor | None = None,
    layer_ratios: Mapping[str, Tensor] = MappingProxyType({}),
    jacobian: Tensor | Exception | None = None,
) -> Snapshot:
    """A snapshot made of what a forward and backward pass on the probe batch gave.

    Args:
        passed: by ``stack``; what is behind its ``looked`` members is left out.
        update_ratio, layer_ratios, jacobian: as ``Snapshot`` and ``LayerState`` have them.
    """
    states = [_state(layer, stack, passed) for layer in layers]
    valid = passed.finite if passed.finite is not None else _valid(states, stack)
    states = [_zeroed(state, valid) for state in states]
    weights = {layer.weight: state.weight for layer, state in zip(layers, states, strict=True)}
    states = [
        replace(state, outgoing=_outgoing(layer, state.units, weights), update_ratio=layer_ratios.get(layer.name))
        for layer, state in zip(layers, states, strict=True)
    ]
    return Snapshot(states, valid, update_ratio, jacobian)


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
    return torch.cat(by_unit, -1) if len(by_unit) > 1 else by_unit[0]


def _attempted_jacobian(stack: Stack, x: Tensor) -> Tensor | Exception:
    """The Jacobian, or why there is none: only what needs it is to fail."""
    try:
        return _jacobian(stack, x)
    except Exception as error:  # a network's forward may raise anything on other rows than those that it is trained on
        if is_out_of_memory(error):
            raise
        return error


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
    return jacobian[: stack.looked].detach()


def _tensors(state: LayerState) -> dict[str, Tensor]:
    return {name: t for name, t in vars(state).items() if isinstance(t, Tensor)}


def _valid(states: Sequence[LayerState], stack: Stack) -> Tensor:
    """Which members are finite, ``(S,)``; activations of finite pre-activations are."""
    checked = [_finite(t) for state in states for name, t in _tensors(state).items() if name != "a"]
    return torch.stack(checked).all(0) if checked else torch.ones(stack.looked, dtype=torch.bool, device=stack.device)


def _finite(tensor: Tensor) -> Tensor:
    """Which members have no entry that is infinite or NaN (which a maximum keeps), ``(S,)``."""
    return tensor.flatten(1).abs().amax(1) < torch.inf


def _zeroed(state: LayerState, valid: Tensor) -> LayerState:
    if valid.all():
        return state
    keep = {name: t.where(valid.reshape(-1, *[1] * (t.ndim - 1)), 0.0) for name, t in _tensors(state).items()}
    return replace(state, **keep)  # type: ignore[arg-type]


def _state(layer: Layer, stack: Stack, passed: Pass) -> LayerState:
    count, gradients = stack.looked, passed.gradients

    def flat(tensors: Parameters, name: str) -> Tensor:
        return tensors[name][:count].detach().flatten(2)

    weight = flat(stack.parameters, layer.weight)
    no_bias = weight.new_zeros(weight.shape[:2])
    z, a, looked, again = None, None, None, None
    if layer.activation is not None and passed.signals:
        z, a = (_by_unit(t[:count], weight.shape[1]) for t in passed.signals[layer.call])
    if layer.activation is not None and passed.found is not None:
        looked = Look.of(passed.found[layer.call])
        again = _again(passed, layer.call)
    return LayerState(
        name=layer.name,
        activation=layer.activation,
        weight=weight,
        bias=stack.parameters[layer.bias][:count].detach() if layer.bias else no_bias,
        gradient=flat(gradients, layer.weight),
        bias_gradient=gradients[layer.bias][:count] if layer.bias else no_bias,
        z=z,
        a=a,
        native=passed.found is not None,
        looked=looked,
        again=again,
    )


def _again(passed: Pass, call: int) -> Callable[[Tensor], Tensor] | None:
    compute = passed.again
    return None if compute is None else lambda members: compute(members)[call][1]


def _by_unit(signal: Tensor, units: int) -> Tensor:
    """``(S, rows, ...)`` to ``(S, samples, units)``: channels are axis 2 of a feature map."""
    signal = signal.detach()
    axis = 2 if signal.shape[2] == units else signal.ndim - 1
    samples = signal.movedim(axis, -1).flatten(1, -2)
    step = sample_step(signal.shape[1], samples.shape[1] // signal.shape[1])
    return samples[:, ::step]


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
