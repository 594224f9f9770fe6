"""The width that a network is bound to have, before it is trained."""

from dataclasses import dataclass

import numpy as np

from pipeline.symmetry.classes import Symmetry
from pipeline.symmetry.motion import constant_units, quotient

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True)
class Prediction:
    """The most that ``redundancy/functional_width`` can become, layer by layer.

    Attributes:
        widths: for each hidden layer the neurons distinct for ever: classes of copies,
            mirrored ones among them, and all that stay constant as one.
        constant: for each hidden layer, how many neurons stay constant.
        units: for each hidden layer, how many neurons it has.
    """

    widths: list[int]
    constant: list[int]
    units: list[int]

    @property
    def width(self) -> float:
        """The share of distinct hidden neurons."""
        return sum(self.widths) / sum(self.units)


def predict(symmetry: Symmetry, zero_at_zero: bool) -> Prediction:
    """What deterministic training in exact arithmetic can't exceed, and as a rule reaches.

    Args:
        zero_at_zero: whether every hidden activation has phi(0) = 0.
    """
    if symmetry.trivial and all(layer.weight.any(1).all() for layer in symmetry.layers[:-1]):
        # Every unit is reached from the inputs, and by others than its copies.
        units = [len(own) for own in symmetry.classes]
        return Prediction(units, [0] * len(units), units)
    constant = constant_units(quotient(symmetry), zero_at_zero)
    return Prediction(
        [int((~c).sum()) + bool(c.any()) for c in constant],
        [int(np.isin(own, np.flatnonzero(c)).sum()) for own, c in zip(symmetry.classes, constant, strict=True)],
        [len(own) for own in symmetry.classes],
    )
