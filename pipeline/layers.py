"""What a network consists of, found by running it once: its weighted layers in order.

Nothing here assumes an MLP. A *layer* is a module with a weight of two or more
dimensions; it is *hidden* if an activation runs after it and before the next one. An
activation is seen when it is a module (``nn.Tanh``), not a function call (``F.tanh``).
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pipeline.activations import Activation, activation_of

__all__ = ["Layer", "Recorder", "activation_paths", "is_sequential", "rows_of", "trace_layers"]


@dataclass(frozen=True)
class Layer:
    """One weighted layer.

    Attributes:
        name: the module's path; ``weight`` and ``bias`` are its parameters' names.
        activation: what follows it, None for the output layer.
        call: which of the calls of activation modules, counted in a whole forward pass,
            that one is (a module can serve several layers).
        readers: the weights that read this layer's activations as they are, pooled channel by
            channel, or flattened.
    """

    name: str
    weight: str
    bias: str | None
    activation: Activation | None = None
    call: int = -1
    readers: tuple[str, ...] = ()

    @property
    def hidden(self) -> bool:
        return self.activation is not None


class Recorder:
    """Records what goes into and comes out of chosen modules during a forward pass."""

    def __init__(self, module: nn.Module, paths: list[str]) -> None:
        self.modules = [(path, module.get_submodule(path)) for path in paths]
        self.calls: list[tuple[str, Tensor, Tensor]] = []

    @contextmanager
    def recording(self) -> Iterator[list[tuple[str, Tensor, Tensor]]]:
        """Within it, ``calls`` fills with (path, input, output) in order of execution."""
        self.calls = []
        handles = [m.register_forward_hook(self._hook(path)) for path, m in self.modules]
        try:
            yield self.calls
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, path: str):  # type: ignore[no-untyped-def]
        def record(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            self.calls.append((path, args[0], output))

        return record


POOLINGS = (
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
)


def rows_of(parameters: Mapping[str, Tensor], layer: Layer) -> Tensor:
    """Incoming row and bias of each unit, ``(S, units, fan_in + 1)``; without the latter where the layer has none."""
    weight = parameters[layer.weight].detach().flatten(2)
    return weight if layer.bias is None else torch.cat([weight, parameters[layer.bias].detach()[..., None]], -1)


def _is_weighted(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return isinstance(weight, nn.Parameter) and weight.ndim >= 2


def activation_paths(module: nn.Module) -> list[str]:
    """The module paths of all activations in ``module``."""
    return [path for path, m in module.named_modules() if path and activation_of(m) is not None]


def _pooling_paths(module: nn.Module) -> list[str]:
    return [path for path, m in module.named_modules() if isinstance(m, POOLINGS)]


def trace_layers(module: nn.Module, sample: Tensor) -> list[Layer]:
    """The weighted layers of ``module`` in order of execution. Leaves it in evaluation mode.

    A weight that is used more than once, by one module or by several that share it, is a
    layer once, where it is used first.

    Args:
        module: the network, with real (not meta) parameters.
        sample: a batch of inputs, ``(rows, *input_shape)``.
    """
    # A network can be a layer itself.
    weighted = [path for path, m in module.named_modules() if _is_weighted(m) and (path or not list(m.children()))]
    recorder = Recorder(module, [*weighted, *activation_paths(module), *_pooling_paths(module)])
    module.eval()  # in training mode, running it would move its running statistics
    with torch.no_grad(), recorder.recording() as calls:
        module(sample)
    names = {id(p): name for name, p in module.named_parameters()}
    layers: dict[str, Layer] = {}
    made: dict[int, tuple[str, Tensor]] = {}  # where in memory the activations of which layer are
    current, activations = "", 0
    for path, given, output in calls:
        child = module.get_submodule(path)
        source, signal = made.get(given.data_ptr(), ("", given))
        if _is_weighted(child):
            current = names[id(child.weight)]
            bias = getattr(child, "bias", None)
            layers.setdefault(current, Layer(path, current, names[id(bias)] if bias is not None else None))
            if source and _reads_units(child, signal, module.get_parameter(source).shape[0]):
                layers[source] = replace(layers[source], readers=(*layers[source].readers, current))
        elif isinstance(child, POOLINGS):
            if source and _pools_positions(module.get_submodule(layers[source].name), signal, output):
                made[output.data_ptr()] = (source, output)
        else:
            if current and not layers[current].hidden:
                layers[current] = replace(layers[current], activation=activation_of(child), call=activations)
                made[output.data_ptr()] = (current, output)
            activations += 1
    return list(layers.values())


def is_sequential(module: nn.Module, layers: Sequence[Layer], sample: Tensor) -> bool:
    """Whether a network is its layers, activations and poolings one after the other, each layer read by the next.

    Seen by trying: under random parameters it must give what they give in their order, and
    have no parameter or buffer besides its layers'.

    Args:
        layers: as ``trace_layers`` finds them.
        sample: a batch of inputs, ``(rows, *input_shape)``.
    """
    names = {name for layer in layers for name in (layer.weight, layer.bias) if name is not None}
    following = [(layer.weight,) for layer in layers[1:]]
    if names != set(module.state_dict()) or not layers or [layer.readers for layer in layers] != [*following, ()]:
        return False
    network, x = copy.deepcopy(module).to("cpu", torch.float64).eval(), sample.to("cpu", torch.float64)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in network.parameters():
            p.copy_(torch.randn(p.shape, dtype=p.dtype, generator=generator) / p[0].numel() ** 0.5)
        paths = [layer.name for layer in layers]
        recorder = Recorder(network, [*paths, *activation_paths(network), *_pooling_paths(network)])
        with recorder.recording() as calls:
            logits = network(x)
        h = calls[0][1]
        for path, given, output in calls:
            if h.numel() != given.numel() or not isinstance(output, Tensor):
                return False
            h = network.get_submodule(path)(h.reshape(given.shape))
    return h.shape == logits.shape and torch.allclose(h, logits, 1e-9, 1e-12)


def _pools_positions(source: nn.Module, signal: Tensor, pooled: object) -> bool:
    """Whether ``pooled`` is the activations of ``source`` channel by channel, at fewer positions.

    Of a convolution alone it is sure that the first axis after the rows is its channels.
    """
    is_convolution = isinstance(source, nn.modules.conv._ConvNd)
    return is_convolution and isinstance(pooled, Tensor) and pooled.shape[:2] == signal.shape[:2]


def _reads_units(reader: nn.Module, signal: Tensor, units: int) -> bool:
    """Whether the fan-in of ``reader`` is ``signal`` unit by unit, each with all its positions."""
    channels_first = signal.shape[1] == units
    if isinstance(reader, nn.Linear):
        return reader.in_features == (signal[0].numel() if channels_first else units)
    plain = isinstance(reader, nn.modules.conv._ConvNd) and reader.groups == 1 and not reader.transposed
    return plain and channels_first
