"""Runs probes on a snapshot."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from pipeline.errors import in_one_line
from pipeline.free import is_out_of_memory
from pipeline.probes.registry import PROBES, LayerProbe, Pool
from pipeline.probes.state import LayerState, Snapshot

__all__ = ["Measurement", "measure"]

Looked = TypeVar("Looked", LayerState, Snapshot)
Failures = dict[int, str]
"""number of a network -> what a probe failed with"""


@dataclass(frozen=True)
class Measurement:
    """What the probes found for S networks at one step.

    Attributes:
        of_network: the probes that have a value of the whole network.
        of_layers: ``(layer, probe)`` of the values of single layers.
        values: first those, then these, ``(len(of_network) + len(of_layers), S)`` in float64.
        failed: of the probes that failed on some of the networks, on which and with what error.
    """

    of_network: list[str]
    of_layers: list[tuple[str, str]]
    values: Tensor
    failed: dict[str, Failures]

    @property
    def network(self) -> dict[str, Tensor]:
        """``{probe: (S,)}``."""
        return dict(zip(self.of_network, self.values, strict=False))

    @property
    def layers(self) -> dict[tuple[str, str], Tensor]:
        """``{(layer, probe): (S,)}``."""
        return dict(zip(self.of_layers, self.values[len(self.of_network) :], strict=True))


def measure(snapshot: Snapshot, probes: Sequence[str]) -> Measurement:
    """Measures ``probes`` (names in ``PROBES``).

    What isn't defined for this kind of network is left out; for a member that has
    diverged every value is NaN, and so is the value of a probe that fails on a member. The
    others have the values that they have without it.
    """
    network: dict[str, Tensor] = {}
    layers: dict[tuple[str, str], Tensor] = {}
    failed: dict[str, Failures] = {name: {} for name in probes}
    for name in probes:
        probe = PROBES[name]
        if isinstance(probe, LayerProbe):
            measured = _by_layer(probe, snapshot, failed[name])
            layers |= {(layer, name): value for layer, _, value in measured}
            if measured and probe.pool is not Pool.NONE:
                network[name] = _pooled(measured, probe.pool)
        elif (value := _attempted(probe.measure, snapshot, snapshot.valid, failed[name])) is not None:
            network[name] = value
    found = [*network.values(), *layers.values()]
    values = torch.stack(found) if found else snapshot.valid.new_empty(0, len(snapshot.valid), dtype=torch.float64)
    values = torch.where(snapshot.valid, values, torch.nan)
    return Measurement(list(network), list(layers), values, {name: found for name, found in failed.items() if found})


def _attempted(
    measure: Callable[[Looked], Tensor | None], of: Looked, valid: Tensor, failed: Failures
) -> Tensor | None:
    """What a probe finds; where it fails, of each network by itself, and NaN of those on which it does then."""
    try:
        return measure(of)
    except Exception as error:  # a decomposition that doesn't converge, for one, fails for the whole stack
        if is_out_of_memory(error):
            raise
    times = 1 if valid.device.type == "cpu" else len(valid)  # a GPU adds in another order for another number of sums
    alone = [_of_one(measure, of.member(i, times), i, failed) if ok else None for i, ok in enumerate(valid.tolist())]
    if valid.any() and not failed and all(value is None for value in alone):
        return None
    missing = torch.tensor(torch.nan, dtype=torch.float64, device=valid.device)
    return torch.stack([missing if value is None else value[0] for value in alone])


def _of_one(measure: Callable[[Looked], Tensor | None], of: Looked, i: int, failed: Failures) -> Tensor | None:
    try:
        return measure(of)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        failed.setdefault(i, f"{type(error).__name__.lstrip('_')}: {in_one_line(error)}")
        return None


def _by_layer(probe: LayerProbe, snapshot: Snapshot, failed: Failures) -> list[tuple[str, int, Tensor]]:
    """Name, units and values of the layers for which the probe is defined."""
    layers = snapshot.layers if probe.output_too else snapshot.hidden
    values = [(layer.name, layer.units, _attempted(probe.measure, layer, snapshot.valid, failed)) for layer in layers]
    return [(name, units, value) for name, units, value in values if value is not None]


def _pooled(measured: list[tuple[str, int, Tensor]], pool: Pool) -> Tensor:
    weights = [units if pool is Pool.UNITS else 1 for _, units, _ in measured]
    total = torch.zeros_like(measured[0][2])
    for weight, (_, _, value) in zip(weights, measured, strict=True):
        total += weight * value
    return total / sum(weights)
