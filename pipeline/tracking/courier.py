"""What a ``Writer`` asks of whoever knows the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from pipeline.tracking.trial import TrialRun

if TYPE_CHECKING:  # MLflow takes seconds to import
    from pipeline.tracking.finished import FinishedRun

__all__ = ["Courier"]


class Courier(Protocol):
    """Knows the store."""

    @property
    def at_once(self) -> int:
        """How many runs it takes in one call."""

    def begin(self) -> None:
        """Called before anything is written, until it doesn't fail."""

    def prepare(self, trial: TrialRun) -> FinishedRun:
        """What is to be stored of a trial."""

    def write(self, runs: Sequence[FinishedRun], again: bool) -> None:
        """Stores all, or raises; ``again``: some may be there already."""

    def tidy(self) -> None:
        """Takes away what calls that failed have left."""
