"""Rows that are measured together, and what their measurement is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.result import Measured, Target

__all__ = ["Context", "Group"]


@dataclass(frozen=True)
class Context:
    """What a measurement is given.

    Attributes:
        quick: whether it is only to be shown that the measurement works: two pairs, small studies.
        mnist: path of an .npz with MNIST; None: OpenML.
        folder: an empty folder, for studies and caches.
        say: prints progress.
    """

    quick: bool
    mnist: str | None
    folder: Path
    say: Callable[[str], None]

    def rounds(self, usual: int) -> int:
        """How many pairs."""
        return 2 if self.quick else usual


@dataclass(frozen=True)
class Group:
    """Targets and the function that measures all of them; its result has their keys."""

    targets: tuple[Target, ...]
    measure: Callable[[Context], Mapping[str, Measured]]

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(target.key for target in self.targets)
