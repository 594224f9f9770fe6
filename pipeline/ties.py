"""The clock of ``symmetry/first_break`` and ``symmetry/broken_step``: when ties between neurons broke.

Two hidden neurons of a layer are tied while their incoming rows and biases are equal to
the last bit. A tie is looked for in every step, at the cost of one comparison a neuron:
by ``tick``, or by the kernels as they train, which tell ``saw``.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pipeline import native as kernels
from pipeline.distinct import surely_distinct
from pipeline.layers import Layer, rows_of
from pipeline.stack import Stack

__all__ = ["NEVER", "TieClock"]

NEVER = -1


class TieClock:
    """Watches the ties of each member of a stack.

    Attributes:
        broken_step: ``(count,)``: the first step at which no exact tie is left, -1 while
            there is one.
        first_break: ``(count,)``: the first step at which a tie of the start was broken, -1
            while none was.
        lasting_break: ``(count,)``: the same of ties within a class, which exact arithmetic
            would keep.

    Args:
        classes: of each member and hidden layer, as ``pipeline.symmetry`` finds them; None
            for a member, or nothing at all, where there are none.
    """

    def __init__(self, stack: Stack, layers: list[Layer], classes: Sequence[list[np.ndarray] | None] = ()) -> None:
        self.stack = stack
        self.layers = [layer for layer in layers if layer.hidden]
        self.broken_step = np.full(len(stack), NEVER)
        self.first_break = np.full(len(stack), NEVER)
        self.lasting_break = np.full(len(stack), NEVER)
        # {layer: (member, neuron, its twin)}, for members that still have a tie.
        self.pairs: list[np.ndarray] = [np.empty((0, 3), dtype=np.int64) for _ in self.layers]
        self.broken_step[self._rescan(np.arange(len(stack)))] = 0
        self.lasting = [self._within(i, layer, classes) for i, layer in enumerate(self.layers)]

    @property
    def watched(self) -> bool:
        """Whether there is a tie left to watch, so that every step must be seen."""
        return bool((self.broken_step == NEVER).any()) or any(map(len, self.lasting))

    def take(self, members: Sequence[int]) -> "TieClock":
        """The clock of some members, in their order; of use to ``joined`` alone."""
        taken = copy.copy(self)
        taken.stack, taken.layers = None, []  # type: ignore[assignment]  # which are not theirs any more
        for name in ("broken_step", "first_break", "lasting_break"):
            setattr(taken, name, getattr(self, name)[list(members)])
        taken.pairs = [_moved(pairs, members) for pairs in self.pairs]
        taken.lasting = [_moved(pairs, members) for pairs in self.lasting]
        return taken

    @classmethod
    def joined(cls, clocks: Sequence["TieClock"], stack: Stack, layers: Sequence[Layer]) -> "TieClock":
        """One clock for the members of several, which ``stack`` now holds in their order."""
        one = copy.copy(clocks[0])
        one.stack, one.layers = stack, [layer for layer in layers if layer.hidden]
        for name in ("broken_step", "first_break", "lasting_break"):
            setattr(one, name, np.concatenate([getattr(clock, name) for clock in clocks]))
        starts = np.cumsum([0, *(len(clock.broken_step) for clock in clocks)])
        one.pairs = [_shifted(parts, starts) for parts in zip(*(clock.pairs for clock in clocks), strict=True)]
        one.lasting = [_shifted(parts, starts) for parts in zip(*(clock.lasting for clock in clocks), strict=True)]
        return one

    def tick(self, step: int) -> None:
        """Call after every step of the optimiser."""
        self._tick_lasting(step)
        watched = np.flatnonzero(self.broken_step == NEVER)
        if not watched.size:
            return
        tied = np.zeros(len(self.stack), dtype=bool)
        parted = np.zeros(len(self.stack), dtype=bool)
        for layer, pairs in zip(self.layers, self.pairs, strict=True):
            if len(pairs):
                equal = self._still_equal(layer, pairs)
                tied[pairs[equal, 0]] = True
                parted[pairs[~equal, 0]] = True
        # Every tie of the start is one of a neuron with its class's first, so the first break shows here.
        self.first_break[parted & (self.first_break == NEVER)] = step
        loose = watched[~tied[watched]]
        if loose.size:
            # None of the twins we knew agree; two others may (a class can split in two).
            self.broken_step[self._rescan(loose)] = step

    def ties(self) -> "tuple[kernels.Ties, kernels.Ties] | tuple[()]":
        """What the kernels are to watch, for ``saw``: all ties, and those that should last; nothing without any."""
        if not self.watched:
            return ()
        every, lasting = (
            np.concatenate([np.insert(own, 1, i, axis=1) for i, own in enumerate(pairs)])
            for pairs in (self.pairs, self.lasting)
        )
        return kernels.Ties.of(every, len(self.stack), True), kernels.Ties.of(lasting, len(self.stack), False)

    def saw(self, before: int, ties: kernels.Ties, lasting: kernels.Ties) -> None:
        """Call after steps in which the kernels watched, in place of ``tick``.

        Args:
            before: steps that were taken before them.
        """
        for breaks, seen in (
            (self.lasting_break, lasting.parted),
            (self.first_break, ties.parted),
            (self.broken_step, ties.gone),
        ):
            new = (seen > 0) & (breaks == NEVER)
            breaks[new] = before + seen[new]
        self.lasting = self._unbroken(self.lasting, self.lasting_break)
        self.pairs = self._unbroken(self.pairs, self.broken_step)
        self._rescan(np.flatnonzero((ties.parted > 0) & (self.broken_step == NEVER)))

    @staticmethod
    def _unbroken(pairs: Sequence[np.ndarray], breaks: np.ndarray) -> list[np.ndarray]:
        """The pairs of members that have not come to a break."""
        return [own[breaks[own[:, 0]] == NEVER] for own in pairs]

    def _tick_lasting(self, step: int) -> None:
        for layer, pairs in zip(self.layers, self.lasting, strict=True):
            if len(pairs):
                self.lasting_break[pairs[~self._still_equal(layer, pairs), 0]] = step
        self.lasting = self._unbroken(self.lasting, self.lasting_break)

    def _within(self, i: int, layer: Layer, classes: Sequence[list[np.ndarray] | None]) -> np.ndarray:
        """Twins of hidden layer ``i`` that are in one class."""
        members = np.array([m for m, found in enumerate(classes) if found is not None], dtype=np.int64)
        return self._find(layer, members, [found[i] if found is not None else None for found in classes])

    def _rows(self, layer: Layer) -> Tensor:
        return rows_of(self.stack.parameters, layer)

    def _still_equal(self, layer: Layer, pairs: np.ndarray) -> np.ndarray:
        own = [self.stack.parameters[name].detach() for name in (layer.weight, layer.bias) if name is not None]
        places = torch.as_tensor(np.ascontiguousarray(pairs.T), device=own[0].device)
        compare = kernels.rows_equal if self.stack.native else _equal
        parts = [compare(p.flatten(2) if p.ndim > 2 else p[..., None], places) for p in own]
        found: np.ndarray = torch.stack(parts).all(0).cpu().numpy()
        return found

    def _rescan(self, members: np.ndarray) -> np.ndarray:
        """Finds the ties that members have now; returns those without any."""
        found = [self._find(layer, members) for layer in self.layers]
        tied = np.unique(np.concatenate([pairs[:, 0] for pairs in found])) if found else np.empty(0)
        self.pairs = [
            np.concatenate([old[~np.isin(old[:, 0], members)], new]) for old, new in zip(self.pairs, found, strict=True)
        ]
        loose: np.ndarray = np.setdiff1d(members, tied)
        return loose

    def _find(
        self, layer: Layer, members: np.ndarray, classes: Sequence[np.ndarray | None] | None = None
    ) -> np.ndarray:
        """Pairs (member, neuron, its twin), where ``classes`` are given of one class."""
        rows = self._rows(layer)[: len(self.stack)]
        doubtful = members[~surely_distinct(rows).cpu().numpy()[members]]
        if not len(doubtful):
            return np.empty((0, 3), dtype=np.int64)
        arrays, pairs = rows.cpu().numpy(), []
        for m in doubtful:
            of = classes[m] if classes is not None else None
            own = arrays[m] if of is None else np.concatenate([arrays[m], of[:, None].astype(arrays.dtype)], 1)
            pairs += [[m, i, twin] for i, twin in _twins(own)]
        return np.array(pairs, dtype=np.int64).reshape(-1, 3)


def _equal(rows: Tensor, pairs: Tensor) -> Tensor:
    """Whether two rows ``(S, n, d)`` of a member are equal, for each of the ``(3, k)`` pairs.

    A network that diverged has not broken its ties by that: NaN equals NaN here.
    """
    member, neuron, twin = pairs
    a, b = rows[member, neuron], rows[member, twin]
    return ((a == b) | (a.isnan() & b.isnan())).all(-1)


def _moved(pairs: np.ndarray, members: Sequence[int]) -> np.ndarray:
    """The pairs of ``members``, numbered by their places there."""
    parts = [
        np.column_stack([np.full((own := pairs[pairs[:, 0] == m]).shape[0], i), own[:, 1:]])
        for i, m in enumerate(members)
    ]
    return np.concatenate([np.empty((0, 3), dtype=np.int64), *parts])


def _shifted(parts: Sequence[np.ndarray], starts: np.ndarray) -> np.ndarray:
    """Pairs of several clocks, with members counted on from clock to clock."""
    return np.concatenate([pairs + np.array([start, 0, 0]) for pairs, start in zip(parts, starts, strict=False)])


def _twins(rows: np.ndarray) -> list[tuple[int, int]]:
    """(neuron, first earlier neuron with the same row to the last bit), for each that has one."""
    rows = np.ascontiguousarray(np.where(np.isnan(rows), np.nan, rows + 0.0), dtype=rows.dtype)  # -0.0 becomes 0.0
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    return [(i, int(first[k])) for i, k in enumerate(inverse) if first[k] != i]
