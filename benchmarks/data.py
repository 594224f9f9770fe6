"""The data of the speed rows as one file for all sides, made by the lab's own loader."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.shapes import Shape
from benchmarks.unavailable import UnavailableError

__all__ = ["ROOT", "Arrays", "data_file", "load", "mnist_file"]

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "benchmarks" / ".data"
MNIST = ROOT.parent / "shared" / "data" / "mnist.npz"


@dataclass(frozen=True)
class Arrays:
    """Standardised inputs and class indices, on a device."""

    x_train: Tensor
    y_train: Tensor
    x_val: Tensor
    y_val: Tensor


def mnist_file(given: str | None) -> str | None:
    """Where MNIST is: as given, else ``INITLAB_MNIST``, else beside the checkout; None: ask OpenML."""
    path = given or os.environ.get("INITLAB_MNIST")
    if path:
        return str(Path(path).expanduser().resolve())
    return str(MNIST) if MNIST.is_file() else None


def data_file(shape: Shape, mnist: str | None) -> Path:
    """The file with a shape's data; made when it is first needed, and kept under a name made from its keys.

    Raises:
        UnavailableError: the data can't be had here.
    """
    key = hashlib.sha256(" ".join(shape.overrides).encode()).hexdigest()[:8]
    path = FOLDER / f"{shape.dataset}-{key}.npz"
    if path.is_file():
        return path
    try:
        from pipeline.config import compose
        from pipeline.errors import InitlabError
        from pipeline.loading import load_dataset
    except ImportError as error:
        raise UnavailableError(f"{path} is not there, and can't be made here: {error}") from None
    try:
        data = load_dataset(compose(overrides(shape, mnist)))
    except InitlabError as error:
        raise UnavailableError(str(error)) from None
    FOLDER.mkdir(exist_ok=True)
    arrays = {key: getattr(data, key).numpy() for key in ("x_train", "y_train", "x_val", "y_val")}
    beside = path.with_suffix(".part.npz")
    np.savez(beside, **arrays)
    beside.replace(path)
    return path


def overrides(shape: Shape, mnist: str | None) -> list[str]:
    """A shape's dataset in the lab's keys."""
    if shape.dataset == "mnist" and mnist is not None:
        return ["dataset=npz", f"dataset.path='{mnist}'", *shape.overrides]
    return [f"dataset={shape.dataset}", *shape.overrides]


def load(path: str, device: str) -> Arrays:
    """The arrays of a data file."""
    with np.load(path) as held:
        return Arrays(**{key: torch.from_numpy(held[key]).to(device) for key in held.files})
