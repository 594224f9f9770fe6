"""Which hidden neurons of an MLP must stay copies for ever under deterministic training.

Two neurons of a layer are *equivalent* when their biases agree, their incoming weights
have the same sum over every class of the layer below, and their outgoing weights have the
same sum over every class of the layer above; inputs and outputs are classes of their own.
Sums are enough, since the members of a class below have one activation and those of a
class above one back-propagated error. Each such neuron then gets the same gradient for
the same class, so the relation is kept by any step that treats equal entries equally: SGD
with momentum, Adam, weight decay, minibatches. It is broken by what doesn't: dropout,
noise, and round-off, which takes its time.

The coarsest relation of this kind is found by colour refinement (Weisfeiler & Leman 1968;
with sums in place of multisets: Grohe et al. 2014, "Dimension reduction via colour
refinement", sec. 3): begin with one class a layer, split by what differs, until nothing
does. Sums are correctly rounded (``math.fsum``), so equal entries in another order agree
to the last bit, and nothing here has a tolerance.

A tie is not the same as a gradient that is zero: with all weights 0 and different biases
no neurons are tied, and still none below the last layer moves at first. ``reached`` says
which layers a gradient gets to.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["LayerWeights", "Symmetry", "find_symmetry", "reached"]


@dataclass(frozen=True)
class LayerWeights:
    """Weight ``(out, in)`` and bias ``(out,)`` of one layer, in order from the input."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Symmetry:
    """The classes of neurons that stay copies.

    Attributes:
        classes: for each hidden layer the class of each neuron, numbered from 0 in order
            of first appearance.
        broken_by: for each hidden layer how many pairs of neurons in different classes
            differ in their incoming ``rows``, in their ``biases``, and in their outgoing
            ``columns``; a pair can differ in more than one.
    """

    classes: list[np.ndarray]
    broken_by: list[dict[str, int]]

    @property
    def widths(self) -> list[int]:
        """Distinct neurons a layer, for ever."""
        return [int(c.max()) + 1 for c in self.classes]

    @property
    def effective_width(self) -> float:
        """The share of distinct hidden neurons that training can't exceed without help."""
        return sum(self.widths) / sum(len(c) for c in self.classes)


def find_symmetry(layers: Sequence[LayerWeights]) -> Symmetry:
    """The coarsest relation between hidden neurons that deterministic training keeps.

    Args:
        layers: all layers of an MLP, the output layer last; at least two.
    """
    colours = [np.zeros(len(layer.bias), dtype=np.int64) for layer in layers[:-1]]
    while True:
        refined = [_numbered(_signatures(layers, colours, i)) for i in range(len(colours))]
        if all(np.array_equal(a, b) for a, b in zip(refined, colours, strict=True)):
            return Symmetry(colours, [_broken_by(layers, colours, i) for i in range(len(colours))])
        colours = refined


def _signatures(layers: Sequence[LayerWeights], colours: list[np.ndarray], i: int) -> list[Hashable]:
    """What tells the neurons of hidden layer ``i`` apart under the present colours."""
    rows, biases, columns = _views(layers, colours, i)
    return list(zip(colours[i].tolist(), rows, biases, columns, strict=True))


def _views(
    layers: Sequence[LayerWeights], colours: list[np.ndarray], i: int
) -> tuple[list[Hashable], list[Hashable], list[Hashable]]:
    """Incoming sums by class below, bias, and outgoing sums by class above, of each neuron."""
    below = colours[i - 1] if i > 0 else None
    above = colours[i + 1] if i + 1 < len(colours) else None
    rows = _sums_by_class(layers[i].weight, below)
    columns = _sums_by_class(layers[i + 1].weight.T, above)
    biases: list[Hashable] = (layers[i].bias + 0.0).tolist()  # -0.0 becomes 0.0
    return rows, biases, columns


def _sums_by_class(weight: np.ndarray, classes: np.ndarray | None) -> list[Hashable]:
    """For each row the correctly rounded sum over each class of columns; None: each column its own."""
    if classes is None or len(np.unique(classes)) == len(classes):
        return [tuple(row) for row in (weight + 0.0).tolist()]
    groups = [np.flatnonzero(classes == c) for c in range(int(classes.max()) + 1)]
    return [tuple(math.fsum(row[group]) + 0.0 for group in groups) for row in weight]


def _numbered(signatures: list[Hashable]) -> np.ndarray:
    """Class numbers in order of first appearance."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(s, len(seen)) for s in signatures], dtype=np.int64)


def _broken_by(layers: Sequence[LayerWeights], colours: list[np.ndarray], i: int) -> dict[str, int]:
    names = ("rows", "biases", "columns")
    views = [_numbered(view) for view in _views(layers, colours, i)]
    return {name: _pairs_apart(view) for name, view in zip(names, views, strict=True)}


def _pairs_apart(classes: np.ndarray) -> int:
    """Pairs of neurons in different classes."""
    n, sizes = len(classes), np.bincount(classes)
    return int((n * (n - 1) - (sizes * (sizes - 1)).sum()) // 2)


def reached(gradients: Sequence[np.ndarray]) -> int:
    """How many layers, counted from the output, get a gradient that is not exactly zero.

    Args:
        gradients: of the loss by each layer's weight, from the input to the output.
    """
    count = 0
    for gradient in reversed(gradients):
        if not np.any(gradient):
            break
        count += 1
    return count
