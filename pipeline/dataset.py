"""A dataset ready to train on: three standardised parts as tensors."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Dataset"]


@dataclass(frozen=True)
class Dataset:
    """Standardised inputs ``(rows, *input_shape)`` and class indices ``(rows,)``.

    Attributes:
        mean, std: of the training part, ``(*input_shape)``: x = (raw - mean) / std.
        digest: SHA-256 of the raw arrays and the split, in hex.
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

    @property
    def input_shape(self) -> tuple[int, ...]:
        return tuple(self.x_train.shape[1:])

    def to(self, device: str, dtype: torch.dtype) -> "Dataset":
        """The same data on ``device``, its inputs in ``dtype``."""
        x = [t.to(device, dtype) for t in (self.x_train, self.x_val, self.x_test)]
        y = [t.to(device) for t in (self.y_train, self.y_val, self.y_test)]
        return Dataset(self.name, x[0], y[0], x[1], y[1], x[2], y[2], self.mean, self.std, self.n_classes, self.digest)
