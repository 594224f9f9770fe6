"""What training can move at all. A gradient that is zero is not a tie, nor a tie such a gradient.

With all weights 0 and different biases no neurons are tied, and still none below the last
layer moves in the first step: ``reached`` says which layers a gradient gets to. Some
units never move, and give the same for every input for ever: ``constant_units`` finds
them, from which weights, activations and errors are exactly zero and stay so.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.symmetry.classes import LayerWeights, Symmetry

__all__ = ["constant_units", "quotient", "reached"]


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


def quotient(symmetry: Symmetry) -> list[LayerWeights]:
    """The network with one neuron a class: it computes the same function.

    Rows are those of each class's first neuron, summed over the classes below.
    """
    layers = []
    for i, layer in enumerate(symmetry.layers):
        weight, bias = layer.weight, layer.bias
        if i > 0:
            weight = (weight * symmetry.signs[i - 1]) @ np.eye(symmetry.widths[i - 1])[symmetry.classes[i - 1]]
        if i < len(symmetry.classes):
            _, first = np.unique(symmetry.classes[i], return_index=True)
            sign = symmetry.signs[i][first]
            weight, bias = sign[:, None] * weight[first], sign * bias[first]
        layers.append(LayerWeights(weight, bias))
    return layers


def constant_units(layers: Sequence[LayerWeights], zero_at_zero: bool) -> list[np.ndarray]:
    """For each hidden layer, which units give the same for every input for ever.

    A weight that is 0 stays 0 where the activation before it or the error behind it is 0
    for ever; a unit stays constant when no chain of weights that are or may become
    different from 0 leads to it from the inputs. What is called constant is so under any
    data; the others vary unless sums of non-zero terms happen to cancel.

    Args:
        zero_at_zero: whether every hidden activation has phi(0) = 0.
    """
    weights = [layer.weight != 0 for layer in layers]
    biases = [layer.bias != 0 for layer in layers]
    active = [np.ones(layers[0].weight.shape[1], dtype=bool)]
    active += [np.full(len(b), not zero_at_zero) for b in biases[:-1]]
    errors = [np.zeros(len(b), dtype=bool) for b in biases[:-1]] + [np.ones(len(biases[-1]), dtype=bool)]
    while True:
        before = sum(int(part.sum()) for part in (*weights, *biases, *active, *errors))
        for i in range(len(layers)):
            weights[i] |= errors[i][:, None] & active[i]
            biases[i] |= errors[i]
        for i in range(len(layers) - 1):
            active[i + 1] |= biases[i] | weights[i] @ active[i]
            errors[i] |= errors[i + 1] @ weights[i + 1]
        if before == sum(int(part.sum()) for part in (*weights, *biases, *active, *errors)):
            return _out_of_sight(weights)


def _out_of_sight(weights: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For each hidden layer, which units no chain of True entries leads to from the inputs."""
    sees = np.ones(weights[0].shape[1], dtype=bool)
    constant = []
    for weight in weights[:-1]:
        sees = weight @ sees
        constant.append(~sees)
    return constant
