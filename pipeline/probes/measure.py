"""Runs probes on a snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.probes.registry import PROBES, LayerProbe, Pool
from pipeline.probes.state import Snapshot

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True)
class Measurement:
    """What the probes found for S networks at one step.

    Attributes:
        of_network: the probes that have a value of the whole network.
        of_layers: ``(layer, probe)`` of the values of single layers.
        values: first those, then these, ``(len(of_network) + len(of_layers), S)`` in float64.
    """

    of_network: list[str]
    of_layers: list[tuple[str, str]]
    values: Tensor

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
    diverged every value is NaN.
    """
    network: dict[str, Tensor] = {}
    layers: dict[tuple[str, str], Tensor] = {}
    for name in probes:
        probe = PROBES[name]
        if isinstance(probe, LayerProbe):
            measured = _by_layer(probe, snapshot)
            layers |= {(layer, name): value for layer, _, value in measured}
            if measured and probe.pool is not Pool.NONE:
                network[name] = _pooled(measured, probe.pool)
        elif (value := probe.measure(snapshot)) is not None:
            network[name] = value
    found = [*network.values(), *layers.values()]
    values = torch.stack(found) if found else torch.empty(0, len(snapshot.valid), dtype=torch.float64)
    return Measurement(list(network), list(layers), torch.where(snapshot.valid, values, torch.nan))


def _by_layer(probe: LayerProbe, snapshot: Snapshot) -> list[tuple[str, int, Tensor]]:
    """Name, units and values of the layers for which the probe is defined."""
    layers = snapshot.layers if probe.output_too else snapshot.hidden
    values = [(layer.name, layer.units, probe.measure(layer)) for layer in layers]
    return [(name, units, value) for name, units, value in values if value is not None]


def _pooled(measured: list[tuple[str, int, Tensor]], pool: Pool) -> Tensor:
    weights = [units if pool is Pool.UNITS else 1 for _, units, _ in measured]
    total = torch.zeros_like(measured[0][2])
    for weight, (_, _, value) in zip(weights, measured, strict=True):
        total += weight * value
    return total / sum(weights)
