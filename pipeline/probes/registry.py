"""The registry of probes: configuration, docs and tests are fed from here."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from pipeline.probes.snapshot import LayerState, Snapshot

__all__ = ["PROBES", "LayerProbe", "NetworkProbe", "Pool", "layer_probe", "network_probe"]


class Pool(Enum):
    """How the values of the hidden layers become the network's one value."""

    UNITS = "mean over hidden units"
    LAYERS = "mean over hidden layers"


@dataclass(frozen=True)
class LayerProbe:
    """A measurement of each hidden layer, ``LayerState -> (S,)``, pooled over layers."""

    name: str
    measure: Callable[[LayerState], Tensor]
    pool: Pool
    source: str


@dataclass(frozen=True)
class NetworkProbe:
    """A measurement of the whole network, ``Snapshot -> (S,)``; None if it isn't defined yet."""

    name: str
    measure: Callable[[Snapshot], Tensor | None]
    source: str


PROBES: dict[str, LayerProbe | NetworkProbe] = {}


def layer_probe(
    name: str, pool: Pool, source: str
) -> Callable[[Callable[[LayerState], Tensor]], Callable[[LayerState], Tensor]]:
    """Registers a measurement of each hidden layer."""

    def register(measure: Callable[[LayerState], Tensor]) -> Callable[[LayerState], Tensor]:
        PROBES[name] = LayerProbe(name, measure, pool, source)
        return measure

    return register


def network_probe(
    name: str, source: str
) -> Callable[[Callable[[Snapshot], Tensor | None]], Callable[[Snapshot], Tensor | None]]:
    """Registers a measurement of the whole network."""

    def register(measure: Callable[[Snapshot], Tensor | None]) -> Callable[[Snapshot], Tensor | None]:
        PROBES[name] = NetworkProbe(name, measure, source)
        return measure

    return register
