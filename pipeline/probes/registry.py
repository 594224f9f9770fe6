"""The registry of probes: configuration, docs and tests are fed from here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from torch import Tensor

from pipeline.probes.state import LayerState, Snapshot

__all__ = [
    "PRESETS",
    "PROBES",
    "About",
    "Cost",
    "LayerProbe",
    "Need",
    "NetworkProbe",
    "Pool",
    "Probe",
    "layer_probe",
    "network_probe",
    "preset",
]


class Pool(Enum):
    """How the values of the layers become the network's one value."""

    UNITS = "mean over hidden units"
    LAYERS = "mean over hidden layers"
    NONE = "each layer alone"


class Cost(Enum):
    """The smallest preset that a probe belongs to."""

    LIGHT = "light"
    STANDARD = "standard"
    FULL = "full"


class Need(Enum):
    """What a probe needs beyond one forward and backward pass on the probe batch."""

    NOTHING = "nothing"
    START = "the activations at step 0"
    JACOBIAN = "a backward pass for each logit: measured at the first and the last step only"


@dataclass(frozen=True)
class About:
    """What ``docs/metrics.md`` says of a probe.

    Attributes:
        formula: the definition, in the page's notation.
        source: paper and equation, or that it is the lab's own.
        check: the closed-form case, as ``tests/test_probes.py`` has it.
        elsewhere: what else the name, or a name near it, means in other places.
    """

    formula: str
    source: str
    check: str
    elsewhere: str = ""


@dataclass(frozen=True)
class Probe:
    """What all probes have.

    Attributes:
        headline: whether every run that measures it has it as a metric; of the others the
            history stands in ``layers.parquet`` alone, unless ``probes.only`` names them.
    """

    name: str
    cost: Cost
    about: About
    headline: bool
    need: Need


@dataclass(frozen=True)
class LayerProbe(Probe):
    """A measurement of each layer, ``LayerState -> (S,)``; None where it isn't defined.

    Attributes:
        pool: how the network's value is made.
        output_too: whether the output layer is measured as well as the hidden ones.
    """

    measure: Callable[[LayerState], Tensor | None]
    pool: Pool
    output_too: bool


@dataclass(frozen=True)
class NetworkProbe(Probe):
    """A measurement of the whole network, ``Snapshot -> (S,)``; None if it isn't defined yet."""

    measure: Callable[[Snapshot], Tensor | None]


PROBES: dict[str, LayerProbe | NetworkProbe] = {}
PRESETS = [cost.value for cost in Cost]

LayerMeasure = Callable[[LayerState], Tensor | None]
NetworkMeasure = Callable[[Snapshot], Tensor | None]


def layer_probe(
    name: str,
    pool: Pool,
    cost: Cost,
    about: About,
    *,
    headline: bool = False,
    need: Need = Need.NOTHING,
    output_too: bool = False,
) -> Callable[[LayerMeasure], LayerMeasure]:
    """Registers a measurement of each layer."""

    def register(measure: LayerMeasure) -> LayerMeasure:
        PROBES[name] = LayerProbe(name, cost, about, headline, need, measure, pool, output_too)
        return measure

    return register


def network_probe(
    name: str, cost: Cost, about: About, *, headline: bool = False, need: Need = Need.NOTHING
) -> Callable[[NetworkMeasure], NetworkMeasure]:
    """Registers a measurement of the whole network."""

    def register(measure: NetworkMeasure) -> NetworkMeasure:
        PROBES[name] = NetworkProbe(name, cost, about, headline, need, measure)
        return measure

    return register


def preset(name: str) -> Sequence[str]:
    """The probes of a preset: those of its cost and of the cheaper ones."""
    allowed = PRESETS[: PRESETS.index(name) + 1]
    return tuple(probe.name for probe in PROBES.values() if probe.cost.value in allowed)
