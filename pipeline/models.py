"""The networks that ship with the lab. Any other ``torch.nn.Module`` trains as well."""

import math
from collections import OrderedDict
from collections.abc import Sequence

from torch import Tensor, nn

from pipeline.activations import ACTIVATIONS
from pipeline.errors import UsageError

__all__ = ["CNN", "MLP", "POOLINGS"]

POOLINGS: dict[str, type[nn.Module]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


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
            layers += [nn.Linear(fan_in, width), _dropped(ACTIVATIONS[activation].module(), dropout)]
            fan_in = width
        layers.append(nn.Linear(fan_in, n_classes))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


class CNN(nn.Module):
    """A convolutional network: blocks of 3x3 convolutions that each end by halving the image, then the logits.

    A block is ``convs`` times (3x3 convolution with padding 1, activation), then 2x2 pooling.
    The first block has ``width`` channels, each later one twice as many as that before it
    (Simonyan & Zisserman 2015, "Very deep convolutional networks", table 1). The layers are
    named ``conv1, conv2, ...``, ``dense`` if there is one, and ``out``.

    Args:
        input_shape: shape of one sample: an image ``(height, width)`` or ``(channels, height,
            width)``, or flat features if ``image_shape`` says what image they are.
        n_classes: number of logits.
        depth: blocks, at least 1, and at most as often as the image can be halved.
        width: channels of the first block.
        convs: convolutions a block.
        activation: a name in ``pipeline.activations.ACTIVATIONS``.
        pooling: a name in ``POOLINGS``.
        hidden: units of a dense layer before the logits; 0: none.
        dropout: share of the inputs of each dense layer, the logits' among them, that a training
            step sets to 0, in [0, 1).
        image_shape: ``(channels, height, width)`` of one sample; None: as ``input_shape`` has it.

    Shapes:
        ``(batch, *input_shape) -> (batch, n_classes)``.

    Raises:
        UsageError: the samples are no images, or too small for so many blocks.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        n_classes: int,
        depth: int = 2,
        width: int = 16,
        convs: int = 1,
        activation: str = "relu",
        pooling: str = "max",
        hidden: int = 0,
        dropout: float = 0.0,
        image_shape: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        channels, *size = _image(input_shape, image_shape, depth)
        act = ACTIVATIONS[activation].module
        layers: dict[str, nn.Module] = {}
        if len(input_shape) < 3:
            layers["image"] = nn.Unflatten(1, (channels, *size[: 3 - len(input_shape)]))
        for n in range(depth * convs):
            units = width * 2 ** (n // convs)
            layers |= {f"conv{n + 1}": nn.Conv2d(channels, units, 3, padding=1), f"act{n + 1}": act()}
            channels = units
            if (n + 1) % convs == 0:
                layers[f"pool{(n + 1) // convs}"] = POOLINGS[pooling](2)
        features = channels * math.prod(side >> depth for side in size)
        layers["flat"] = _dropped(nn.Flatten(), dropout)
        if hidden:
            layers |= {"dense": nn.Linear(features, hidden), "dense_act": _dropped(act(), dropout)}
        layers["out"] = nn.Linear(hidden or features, n_classes)
        self.layers = nn.Sequential(OrderedDict(layers))

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.layers(x)
        return logits


def _dropped(module: nn.Module, p: float) -> nn.Module:
    """In one slot with its dropout, so that this changes no parameter's name, nor its stream."""
    return nn.Sequential(module, nn.Dropout(p)) if p else module


def _image(input_shape: Sequence[int], image_shape: Sequence[int] | None, depth: int) -> tuple[int, ...]:
    """``(channels, height, width)`` of a sample, checked."""
    shape = tuple(image_shape or input_shape)
    image = (1, *shape) if len(shape) == 2 else shape
    if len(image) != 3 or math.prod(image) != math.prod(input_shape):
        allowed = f"needs images, and the rows of the dataset have shape {tuple(input_shape)}; use model=mlp, or"
        allowed += " an .npz with rows of (height, width) or (height, width, channels)"
        raise UsageError.of("model", "cnn", allowed)
    halvings = min(image[1:]).bit_length() - 1
    if depth > halvings:
        allowed = (
            f"must be at most {halvings}, as often as the dataset's images of {image[1]} x {image[2]} can be halved"
        )
        raise UsageError.of("model.depth", depth, allowed)
    return image
