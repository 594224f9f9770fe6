"""Probes: measurements of a network on a fixed probe batch.

What is measured stands here, when in ``schedule``, how it is drawn in the report. To add
a probe, write a function under a decorator, and its slow oracle in ``tests/oracles.py``.
"""

from pipeline.probes import rank, redundancy, saturation, signal
from pipeline.probes.measure import Measurement, measure
from pipeline.probes.registry import PRESETS, PROBES, LayerProbe, Need, NetworkProbe, Pool, preset
from pipeline.probes.schedule import log_spaced
from pipeline.probes.snapshot import snapshot_of, take_snapshot
from pipeline.probes.state import LayerState, Snapshot

__all__ = [
    "PRESETS",
    "PROBES",
    "LayerProbe",
    "LayerState",
    "Measurement",
    "Need",
    "NetworkProbe",
    "Pool",
    "Snapshot",
    "log_spaced",
    "measure",
    "preset",
    "rank",
    "redundancy",
    "saturation",
    "signal",
    "snapshot_of",
    "take_snapshot",
]
