"""A dataset ready to train on: three standardised parts as tensors."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["Dataset"]


@dataclass(frozen=True)
class Dataset:
    """Standardised inputs ``(rows, *input_shape)`` and class indices ``(rows,)``.

    Attributes:
        mean, std: of the training part, ``(*input_shape)``: x = (raw - mean) / std.
        digest: SHA-256 of the raw arrays and the split, in hex.
        image_shape: ``(channels, height, width)`` of a row that is an image, also where it is
            kept flat; None for tables.
    """

    name: str
    x_train: Tensor
    y_train: Tensor
    x_val: Tensor
    y_val: Tensor
    x_test: Tensor
    y_test: Tensor
    mean: Tensor
    std: Tensor
    n_classes: int
    digest: str
    image_shape: tuple[int, ...] | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.x_train.shape[1:])

    def to(self, device: str, dtype: torch.dtype) -> "Dataset":
        """The same data on ``device``, its inputs in ``dtype``."""
        x = {name: getattr(self, name).to(device, dtype) for name in ("x_train", "x_val", "x_test")}
        y = {name: getattr(self, name).to(device) for name in ("y_train", "y_val", "y_test")}
        return replace(self, **x, **y)
