"""Runs probes on a snapshot."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.probes.registry import PROBES, LayerProbe, Pool
from pipeline.probes.snapshot import LayerState, Snapshot

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True)
class Measurement:
    """What the probes found for S networks at one step.

    Attributes:
        network: ``{probe: (S,)}``.
        layers: ``{(layer, probe): (S,)}``.
    """

    network: dict[str, Tensor]
    layers: dict[tuple[str, str], Tensor]


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
            layers |= {(layer.name, name): value for layer, value in measured}
            if measured and probe.pool is not Pool.NONE:
                network[name] = _pooled(measured, probe.pool)
        elif (value := probe.measure(snapshot)) is not None:
            network[name] = _where_valid(value, snapshot)
    return Measurement(network, layers)


def _by_layer(probe: LayerProbe, snapshot: Snapshot) -> list[tuple[LayerState, Tensor]]:
    """The layers for which the probe is defined, with its values."""
    layers = snapshot.layers if probe.output_too else snapshot.hidden
    values = [(layer, probe.measure(layer)) for layer in layers]
    return [(layer, _where_valid(value, snapshot)) for layer, value in values if value is not None]


def _where_valid(value: Tensor, snapshot: Snapshot) -> Tensor:
    return torch.where(snapshot.valid, value, torch.nan)


def _pooled(measured: list[tuple[LayerState, Tensor]], pool: Pool) -> Tensor:
    stacked = torch.stack([value for _, value in measured])
    weights = stacked.new_tensor([layer.units if pool is Pool.UNITS else 1 for layer, _ in measured])
    return (stacked * weights[:, None]).sum(0) / weights.sum()
