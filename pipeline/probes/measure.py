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
        layers: ``{(layer, probe): (S,)}`` for the hidden layers.
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
            values = [_where_valid(probe.measure(layer), snapshot) for layer in snapshot.hidden]
            layers |= {(layer.name, name): v for layer, v in zip(snapshot.hidden, values, strict=True)}
            if values:
                network[name] = _pooled(values, snapshot.hidden, probe.pool)
        elif (value := probe.measure(snapshot)) is not None:
            network[name] = _where_valid(value, snapshot)
    return Measurement(network, layers)


def _where_valid(value: Tensor, snapshot: Snapshot) -> Tensor:
    return torch.where(snapshot.valid, value, torch.nan)


def _pooled(values: list[Tensor], layers: list[LayerState], pool: Pool) -> Tensor:
    stacked = torch.stack(values)
    weights = stacked.new_tensor([layer.units if pool is Pool.UNITS else 1 for layer in layers])
    return (stacked * weights[:, None]).sum(0) / weights.sum()
