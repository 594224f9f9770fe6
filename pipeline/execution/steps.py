"""The contract of the execution modes: the same steps, computed in different ways."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.native import Ties
from pipeline.optim import StackedOptimizer
from pipeline.stack import Parameters, Stack

__all__ = ["MODES", "Execution", "State", "Steps"]

MODES = ("native", "compiled", "stacked", "loop")


@dataclass(frozen=True)
class Steps:
    """What some steps of a stack of ``count`` members left behind.

    Attributes:
        loss: mean over each batch before its step, in nats, ``(count, steps)``.
        hits: rows of each batch that were predicted right, ``(count, steps)``.
        updates: what the last step added, ``{name: (count or more, *shape)}``; None where
            it was not asked for.
        ties: those that were watched, with what was seen of them.
    """

    loss: Tensor
    hits: Tensor
    updates: Parameters | None
    ties: Sequence[Ties] = ()


@dataclass(frozen=True)
class State:
    """All that the next step of some members depends on, besides their configuration and seed.

    Attributes:
        parameters, buffers: ``{name: (count, *shape)}``. moments: of the optimiser, likewise.
        steps: taken so far, by all of them.
    """

    parameters: Parameters
    buffers: Parameters
    moments: list[Parameters]
    steps: int

    def take(self, members: Sequence[int]) -> "State":
        """That of some of the members, in their order."""

        def taken(tensors: Parameters) -> Parameters:
            return {name: _rows(t, members) for name, t in tensors.items()}

        return State(taken(self.parameters), taken(self.buffers), [taken(m) for m in self.moments], self.steps)

    @classmethod
    def joined(cls, states: Sequence["State"]) -> "State":
        """That of the members of several, which have taken equally many steps."""

        def cat(parts: Sequence[Parameters]) -> Parameters:
            return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

        moments = [cat(parts) for parts in zip(*(s.moments for s in states), strict=True)]
        return cls(cat([s.parameters for s in states]), cat([s.buffers for s in states]), moments, states[0].steps)


def _rows(tensor: Tensor, chosen: Sequence[int]) -> Tensor:
    """A copy of some rows; of one without an index, which would have to be sent to a GPU."""
    return tensor[chosen[0] : chosen[0] + 1].clone() if len(chosen) == 1 else tensor[list(chosen)]


class Execution(ABC):
    """Steps a stack. What is read from the stack's parameters between two calls is true."""

    def __init__(self, stack: Stack, optimizer: StackedOptimizer) -> None:
        self.stack, self.optimizer = stack, optimizer

    @abstractmethod
    def advance(self, x: Tensor, y: Tensor, rows: Tensor, *, keep: bool = False, watch: Sequence[Ties] = ()) -> Steps:
        """Takes one step for each batch.

        Args:
            x: all samples ``(samples, *input_shape)``. y: ``(samples,)`` class indices.
            rows: which of them each member steps on, ``(count, steps, batch)``.
            keep: whether the last step's updates are wanted.
            watch: ties to watch in every step, where that can be done; else whoever asks must look.
        """

    def state(self) -> State:
        """A copy of what goes on into another stack."""
        count = len(self.stack)

        def own(tensors: Parameters) -> Parameters:
            return {name: t[:count].detach().clone() for name, t in tensors.items()}

        moments = [own(moment) for moment in self.optimizer.moments]
        return State(own(self.stack.parameters), own(self.stack.buffers), moments, self.optimizer.steps)

    def resume(self, state: State) -> None:
        """Goes on from there; the stack holds its parameters already."""
        self.optimizer.steps = state.steps
        for mine, theirs in zip(self.optimizer.moments, state.moments, strict=True):
            for name, moment in mine.items():
                moment[: len(self.stack)] = theirs[name]
                moment[len(self.stack) :] = theirs[name][:1]
