"""Members of a stack between two epochs."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from pipeline.execution import State
from pipeline.observe import Seen
from pipeline.plan import Member

__all__ = ["Paused"]


@dataclass(frozen=True)
class Paused:
    """Members between two epochs: all that they need to go on, in whatever company.

    Attributes:
        epoch: how many they have behind them.
        masks: where the dropout streams of their seeds are.
    """

    members: Sequence[Member]
    epoch: int
    state: State
    seen: Seen
    masks: dict[int, Tensor]

    def take(self, chosen: Sequence[int]) -> "Paused":
        """Some of the members, in their order."""
        members = [self.members[i] for i in chosen]
        return Paused(members, self.epoch, self.state.take(chosen), self.seen.take(chosen), self.masks)

    def single(self) -> "list[Paused]":
        """Each member by itself."""
        return [self.take([i]) for i in range(len(self.members))]
