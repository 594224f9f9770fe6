"""In which order each seed sees the data."""

from functools import lru_cache
from threading import Lock

import torch
from torch import Tensor

from pipeline.seeds import stream

__all__ = ["Orders", "orders_of"]

KEPT_BYTES = 256_000


class Orders:
    """The orders of one seed: a new permutation each epoch, from its own stream.

    The latest are kept, as the members of many stacks have the same seeds; an earlier one
    is drawn again.
    """

    def __init__(self, seed: int, rows: int) -> None:
        self.seed, self.rows = seed, rows
        self.kept = max(1, KEPT_BYTES // (8 * rows))
        self.lock = Lock()
        self._restart()

    def _restart(self) -> None:
        self.generator, self.drawn = stream(self.seed, "data order"), 0
        self.latest: dict[int, Tensor] = {}

    def of(self, epoch: int) -> Tensor:
        """``(rows,)`` int64: what each member with this seed sees in an epoch, counted from 0."""
        with self.lock:
            if epoch < self.drawn and epoch not in self.latest:
                self._restart()
            while epoch not in self.latest:
                self.latest[self.drawn] = torch.randperm(self.rows, generator=self.generator)
                self.drawn += 1
                self.latest.pop(self.drawn - 1 - self.kept, None)
            return self.latest[epoch]


orders_of = lru_cache(maxsize=64)(Orders)
"""Those of a seed, shared with whoever asked for them lately. Hold on to them as long as they are needed."""
