"""How the values of an axis of the search are placed on a drawn axis."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["Scale", "axis_scale"]

# Cells across a map, for a few trials and for many.
BINS, FINE_BINS, MANY = 12, 24, 1000


@dataclass(frozen=True)
class Scale:
    """An axis: linear, logarithmic with a column of its own for 0, or of labels side by side.

    Attributes:
        edges: of the cells on the drawn axis, without that of 0.
        zero_at: where 0 is drawn on a logarithmic axis that has it.
        labels: of an axis that isn't numeric, in their order.
    """

    key: str
    edges: np.ndarray
    log: bool = False
    zero_at: float | None = None
    labels: tuple[str, ...] = ()

    def place(self, values: Sequence[object] | np.ndarray) -> np.ndarray:
        """Positions on the drawn axis."""
        if self.labels:
            found = {label: float(i) for i, label in enumerate(self.labels)}
            return np.array([found[str(value)] for value in values])
        array = np.asarray(values, dtype=float)
        if not self.log:
            return array
        zero = array == 0
        placed = np.log10(np.where(zero, 1.0, array))
        return np.where(zero, self.zero_at if self.zero_at is not None else 0.0, placed)

    def unplace(self, positions: np.ndarray) -> np.ndarray:
        """The values at positions between the edges of a numeric axis."""
        return 10.0**positions if self.log else positions

    @property
    def cells(self) -> np.ndarray:
        """Edges of the drawn cells, with the one for 0 at the left."""
        if self.zero_at is None:
            return self.edges
        half = (self.edges[1] - self.edges[0]) / 2
        return np.concatenate([[self.zero_at - half, self.zero_at + half], self.edges])

    def ticks(self) -> tuple[list[float], list[str]] | None:
        """Positions and labels of the ticks, None for those that a linear axis has by itself."""
        if self.labels:
            return list(map(float, range(len(self.labels)))), list(self.labels)
        if not self.log:
            return None
        powers = np.arange(math.ceil(self.edges[0] - 1e-9), math.floor(self.edges[-1] + 1e-9) + 1)
        positions, labels = list(map(float, powers)), [f"{10.0**p:g}" for p in powers]
        if self.zero_at is not None:
            positions, labels = [self.zero_at, *positions], ["0", *labels]
        return positions, labels


def axis_scale(key: str, values: "pd.Series[str]") -> Scale:
    """A scale for these values: logarithmic if they are positive (or 0) over two decades, labels if not numbers."""
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.isna().any():
        labels = tuple(dict.fromkeys(map(str, values)))
        return Scale(key, np.arange(len(labels) + 1) - 0.5, labels=labels)
    array = numbers.to_numpy(float)
    positive = array[array > 0]
    log = bool((array >= 0).all() and positive.size > 1 and positive.max() / positive.min() > 100)
    drawn = np.log10(positive) if log else array
    low, high = float(drawn.min()), float(drawn.max())
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, (FINE_BINS if array.size > MANY else BINS) + 1)
    has_zero = log and bool((array == 0).any())
    return Scale(key, edges, log, low - 1.2 * (edges[1] - edges[0]) if has_zero else None)
