"""The network that ships with the lab. Any other ``torch.nn.Module`` trains as well."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from pipeline.activations import ACTIVATIONS

__all__ = ["MLP"]


class MLP(nn.Module):
    """A fully connected network: ``depth`` hidden layers of ``width`` units, then the logits.

    Args:
        input_shape: shape of one sample; flattened to ``prod(input_shape)`` features.
        n_classes: number of logits.
        depth: hidden layers, at least 1.
        width: units in each hidden layer.
        activation: a name in ``pipeline.activations.ACTIVATIONS``.
        dropout: share of each hidden layer's activations that a training step sets to 0, in [0, 1).

    Shapes:
        ``(batch, *input_shape) -> (batch, n_classes)``.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        n_classes: int,
        depth: int = 2,
        width: int = 64,
        activation: str = "tanh",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        fan_in = math.prod(input_shape)
        layers: list[nn.Module] = [nn.Flatten()]
        for _ in range(depth):
            phi = ACTIVATIONS[activation].module()
            # In one slot with the activation, so that dropout changes no parameter's name, nor its stream.
            layers += [nn.Linear(fan_in, width), nn.Sequential(phi, nn.Dropout(dropout)) if dropout else phi]
            fan_in = width
        layers.append(nn.Linear(fan_in, n_classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits
