"""The classes of copies, by colour refinement of the weighted network graph.

Two neurons of a layer are *equivalent* when their biases agree, their incoming weights
have the same sum over every class of the layer below, and their outgoing weights have the
same sum over every class of the layer above; inputs and outputs are classes of their own.
Sums are enough, since the members of a class below have one activation and those of a
class above one back-propagated error. Each such neuron then gets the same gradient for
the same class, so the relation is kept by SGD with momentum, Adam, decoupled weight decay
and minibatches. (Adam with L2 decay in its gradient is not linear in the weights: there
only equal entries stay equal, not equal sums.) It is broken by what doesn't: dropout,
noise, and round-off, which takes its time.

Under an odd activation (tanh) a neuron whose row, bias and column are the negatives of
another's is its *mirrored* copy for ever: its activation is the negative one. To find
these, each neuron i stands in the graph twice, as +i and as -i with all its weights
negated, and classes are sought among both. A neuron that is in one class with its own
mirror image gives 0 for ever.

The coarsest relation of this kind is found by colour refinement (Weisfeiler & Leman 1968;
with sums in place of multisets: Grohe et al. 2014, "Dimension reduction via colour
refinement", sec. 3): begin with one class a layer, split by what differs, until nothing
does. Sums are correctly rounded (``math.fsum``), so equal entries in another order agree
to the last bit, and nothing here has a tolerance.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

__all__ = ["LayerWeights", "Symmetry", "all_distinct", "find_symmetry"]

TENSORS = ("rows", "biases", "columns")


@dataclass(frozen=True)
class LayerWeights:
    """Finite weight ``(out, in)`` and bias ``(out,)`` of one layer, in order from the input."""

    weight: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True)
class Symmetry:
    """The classes of neurons that stay copies.

    Attributes:
        layers: the network they were found in.
        classes: for each hidden layer the class of each neuron, numbered from 0 in order
            of first appearance.
        signs: for each hidden layer and neuron 1, or -1 for a mirrored copy of its class's
            first neuron, or 0 for one that is its own mirror image.
    """

    layers: Sequence[LayerWeights]
    classes: list[np.ndarray]
    signs: list[np.ndarray]

    @property
    def widths(self) -> list[int]:
        """Distinct neurons a layer, for ever."""
        return [int(c.max()) + 1 for c in self.classes]

    @property
    def effective_width(self) -> float:
        """The share of distinct hidden neurons that training can't exceed without help."""
        return sum(self.widths) / sum(len(c) for c in self.classes)

    @property
    def trivial(self) -> bool:
        """Whether every neuron is a class of its own, and none its own mirror image."""
        return all(int(c[-1]) + 1 == len(c) and bool(s.all()) for c, s in zip(self.classes, self.signs, strict=True))

    @cached_property
    def broken_by(self) -> list[dict[str, int]]:
        """What breaks ties: for each hidden layer how many pairs of neurons in different
        classes differ in their incoming ``rows``, in their ``biases``, and in their outgoing
        ``columns``, each as the classes see them; a pair can differ in more than one."""
        return [{name: _pairs_apart(view) for name, view in self._views(i).items()} for i in range(len(self.classes))]

    def tensors_apart(self, layer: int, a: int, b: int) -> list[str]:
        """Which of rows, biases and columns tell neurons ``a`` and ``b`` of a hidden layer apart."""
        return [name for name, view in self._views(layer).items() if view[a] != view[b]]

    def _views(self, i: int) -> dict[str, list[Hashable]]:
        return dict(zip(TENSORS, _views(self.layers, self.classes, self.signs, i), strict=True))


def find_symmetry(layers: Sequence[LayerWeights], odd: bool = False) -> Symmetry:
    """The coarsest relation between hidden neurons that deterministic training keeps.

    Args:
        layers: all layers of an MLP, the output layer last; at least two.
        odd: whether every hidden activation is odd, so that mirrored copies count.
    """
    if _rows_differ(layers, odd):
        return all_distinct(layers)
    if not odd:
        return _unmirrored(layers, _refined(layers))
    folded = [_folded(colours) for colours in _refined(_doubled(layers))]
    return Symmetry(layers, [classes for classes, _ in folded], [signs for _, signs in folded])


def all_distinct(layers: Sequence[LayerWeights]) -> Symmetry:
    """Every neuron a class of its own: what ``find_symmetry`` finds where rows and biases are
    finite and all different, and under odd activations neither zero nor each other's negatives."""
    return _unmirrored(layers, [np.arange(len(layer.bias)) for layer in layers[:-1]])


def _unmirrored(layers: Sequence[LayerWeights], classes: list[np.ndarray]) -> Symmetry:
    return Symmetry(layers, classes, [np.ones(len(c), dtype=np.int64) for c in classes])


def _rows_differ(layers: Sequence[LayerWeights], odd: bool) -> bool:
    """Whether rows and biases alone make every neuron a class: the usual case, soon seen.

    With distinct [row, bias] the neurons above the inputs are a class each, so those above
    them are told apart by theirs, and so on.
    """
    for layer in layers[:-1]:
        rows = np.concatenate([layer.weight, layer.bias[:, None]], 1) + 0.0
        if odd:  # up to the sign of the first entry that isn't 0; a row of zeros is its own mirror image
            leading = np.sign(np.take_along_axis(rows, (rows != 0).argmax(1)[:, None], 1))
            if not leading.all():
                return False
            rows = leading * rows + 0.0
        if len({row.tobytes() for row in rows}) < len(rows):
            return False
    return True


def _refined(layers: Sequence[LayerWeights]) -> list[np.ndarray]:
    """Splits classes, layer after layer, until nothing more differs."""
    hidden = range(len(layers) - 1)
    colours = [np.zeros(len(layer.bias), dtype=np.int64) for layer in layers[:-1]]
    signs = [np.ones_like(c) for c in colours]
    while True:
        before = list(colours)
        for i in hidden:
            if colours[i].max() + 1 < len(colours[i]):  # all distinct is as fine as it gets
                views = _views(layers, colours, signs, i)
                colours[i] = _numbered(list(zip(colours[i].tolist(), *views, strict=True)))
        if all(np.array_equal(a, b) for a, b in zip(before, colours, strict=True)):
            return colours


def _views(
    layers: Sequence[LayerWeights], colours: list[np.ndarray], signs: list[np.ndarray], i: int
) -> tuple[list[Hashable], list[Hashable], list[Hashable]]:
    """Incoming sums by class below, bias, and outgoing sums by class above, of each neuron of hidden layer ``i``."""
    own = signs[i]
    below = (colours[i - 1], signs[i - 1]) if i > 0 else None
    above = (colours[i + 1], signs[i + 1]) if i + 1 < len(colours) else None
    rows = _sums_by_class(own[:, None] * layers[i].weight, below)
    columns = _sums_by_class(own[:, None] * layers[i + 1].weight.T, above)
    biases: list[Hashable] = (own * layers[i].bias + 0.0).tolist()  # -0.0 becomes 0.0
    return rows, biases, columns


def _sums_by_class(weight: np.ndarray, classes: tuple[np.ndarray, np.ndarray] | None) -> list[Hashable]:
    """For each row the correctly rounded sum over each class of columns; None: each column its own."""
    if classes is None:
        return [tuple(row) for row in (weight + 0.0).tolist()]
    colours, signs = classes
    rows = (weight * signs + 0.0).tolist()
    count = int(colours.max()) + 1
    if count == len(colours):
        return [tuple(row) for row in rows]
    groups = [np.flatnonzero(colours == c).tolist() for c in range(count)]
    return [tuple(math.fsum([row[j] for j in group]) + 0.0 for group in groups) for row in rows]


def _numbered(signatures: Sequence[Hashable]) -> np.ndarray:
    """Class numbers in order of first appearance."""
    seen: dict[Hashable, int] = {}
    return np.array([seen.setdefault(s, len(seen)) for s in signatures], dtype=np.int64)


def _doubled(layers: Sequence[LayerWeights]) -> list[LayerWeights]:
    """The network with every hidden neuron beside its mirror image: first all +i, then all -i."""
    doubled = []
    for i, layer in enumerate(layers):
        weight, bias = layer.weight, layer.bias
        if i > 0:
            weight = np.concatenate([weight, -weight], 1)
        if i + 1 < len(layers):
            weight, bias = np.concatenate([weight, -weight]), np.concatenate([bias, -bias])
        doubled.append(LayerWeights(weight, bias))
    return doubled


def _folded(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes and signs of the neurons, from the colours of +i and -i.

    Colours count up from +0, so of the two colours of a class the lower one is that of its
    first neuron.
    """
    plus, minus = np.split(colours, 2)
    return _numbered(np.minimum(plus, minus).tolist()), np.sign(minus - plus)


def _pairs_apart(view: list[Hashable]) -> int:
    """Pairs of neurons that a view tells apart."""
    n, sizes = len(view), np.bincount(_numbered(view))
    return int((n * (n - 1) - (sizes * (sizes - 1)).sum()) // 2)
