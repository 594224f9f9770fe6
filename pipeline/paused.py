"""Members of a stack between two epochs."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from pipeline.execution import State
from pipeline.observe import Seen
from pipeline.plan import Member

__all__ = ["Paused", "filled"]


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


def filled(paused: Sequence[Paused], slots: int) -> list[Paused]:
    """Members for all slots: after those of ``paused`` copies of the first, with records of their own."""
    first = paused[0].take([0])
    spare = slots - sum(len(part.members) for part in paused)
    seen = (replace(first.seen, records=copy.deepcopy(first.seen.records)) for _ in range(spare))
    return [*paused, *(replace(first, seen=own) for own in seen)]
