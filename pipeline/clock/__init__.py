"""The symmetry-break clock: when ties between neurons broke, and what broke them, by experiment."""

from pipeline.clock.arms import ArmRecord, run_arms
from pipeline.clock.cause import Clock, Ties, find_causes, read_clock

__all__ = ["ArmRecord", "Clock", "Ties", "find_causes", "read_clock", "run_arms"]
