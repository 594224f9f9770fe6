"""Raw arrays, before splitting and scaling, and the checks that every source must pass."""

import hashlib
from dataclasses import dataclass

import numpy as np

from pipeline.errors import UsageError

__all__ = ["Raw", "checked_inputs", "checked_labels"]


@dataclass(frozen=True)
class Raw:
    """Inputs ``(rows, *input_shape)`` as floats and labels ``(rows,)`` as class indices.

    Attributes:
        x_test, y_test: None where the source has no test part of its own.
        flat_image: ``(channels, height, width)`` where rows are images that are kept flat.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    flat_image: tuple[int, ...] | None = None

    @property
    def images(self) -> bool:
        return self.x.ndim > 2

    @property
    def image_shape(self) -> tuple[int, ...] | None:
        return self.x.shape[1:] if self.images else self.flat_image

    def digest(self) -> str:
        """SHA-256 over names, shapes, types and bytes of the arrays."""
        sha = hashlib.sha256()
        for name in ("x", "y", "x_test", "y_test"):
            array = getattr(self, name)
            if array is not None:
                sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
                sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()


def checked_inputs(source: str, key: str, x: np.ndarray) -> np.ndarray:
    """``x`` as float32 or uint8, images ``(rows, channels, height, width)``; else ``UsageError``."""
    if x.dtype.kind not in "fiub":
        raise UsageError.of("dataset.path", source, f"{key} holds {x.dtype}; it must hold numbers")
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        allowed = "it must be (rows, features), (rows, height, width) or (rows, height, width, channels), none 0"
        raise UsageError.of("dataset.path", source, f"{key} has shape {x.shape}; {allowed}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        bad = int((~np.isfinite(x)).sum())
        raise UsageError.of("dataset.path", source, f"{key} holds {bad} NaN or infinite values; it must hold none")
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
        x = x.transpose(0, 3, 1, 2)
    with np.errstate(over="ignore"):
        # Whatever the order of its bytes and axes in a file, the same numbers in the same places.
        x = np.ascontiguousarray(x, x.dtype if x.dtype == np.uint8 else np.float32)
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise UsageError.of("dataset.path", source, f"{key} holds values too large for float32 (3.4e38)")
    return x


def checked_labels(source: str, key: str, y: np.ndarray, rows: int, n_classes: int | None = None) -> np.ndarray:
    """``y`` as int64 class indices 0..K-1; else ``UsageError``.

    Args:
        n_classes: K, where another part has settled it; None where this part does.
    """
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (rows,):
        raise UsageError.of(
            "dataset.path", source, f"{key} has shape {y.shape}; it must have one label a row, ({rows},)"
        )
    whole = y.dtype.kind in "iub" or (y.dtype.kind == "f" and np.isfinite(y).all() and (y == np.floor(y)).all())
    if not whole:
        raise UsageError.of("dataset.path", source, f"{key} holds {y.dtype} labels; they must be integers 0..classes-1")
    with np.errstate(invalid="ignore"):  # labels beyond int64 become some other number, out of range
        y = y.astype(np.int64)
    classes = n_classes if n_classes is not None else len(np.unique(y))
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        allowed = f"with {classes} classes they must be 0..{classes - 1}"
        raise UsageError.of("dataset.path", source, f"{key} has labels out of range ({low}..{high}); {allowed}")
    if classes < 2:
        raise UsageError.of("dataset.path", source, f"{key} has one class only; at least 2 are needed")
    return y
