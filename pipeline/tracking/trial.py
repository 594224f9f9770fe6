"""What is told of a trial once it has ended."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.config import Config
from pipeline.records import TrialRecord

__all__ = ["TrialRun"]


@dataclass(frozen=True)
class TrialRun:
    """A trial that has ended, as a run is to tell of it.

    Attributes:
        values: of the study's axes.
        objective: what the search was told, if it was told a value.
        started, ended: seconds since the epoch.
    """

    number: int
    config: Config
    values: Mapping[str, object]
    record: TrialRecord
    objective: float | None
    started: float
    ended: float = field(default_factory=time.time)
