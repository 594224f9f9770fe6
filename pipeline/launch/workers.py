"""What whoever follows a study has to know of its workers, wherever they run."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

__all__ = ["Census", "Workers", "last_words"]


@dataclass(frozen=True)
class Census:
    """How many workers run, and how many wait for a node."""

    running: int
    waiting: int = 0

    @property
    def left(self) -> int:
        """Those that have not ended."""
        return self.running + self.waiting


class Workers(Protocol):
    """The workers of one study."""

    title: str
    """``4 processes, logs in ...``: said as they start."""

    def count(self) -> Census:
        """How many there are now."""

    def news(self) -> Sequence[str]:
        """A line for each that failed or was put back in the queue; each is told once."""

    def dismiss(self) -> None:
        """There is nothing more to do: those that wait need not start."""

    def stop(self, number: int) -> None:
        """Ends them all in the way that they end by themselves; ``number`` is the signal that asks for it."""


def last_words(log: Path) -> str:
    """What a worker said last: its own message if it gave one, else the last line."""
    try:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    except OSError:
        return "nothing was written"
    own = [line.removeprefix("initlab: ") for line in lines if line.startswith("initlab: ")]
    return (own or lines or ["nothing was written"])[-1][:300]
