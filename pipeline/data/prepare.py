"""From raw arrays to a dataset: stratified split, then scaling by the training part."""

import hashlib
import warnings

import numpy as np
import torch
from sklearn.model_selection import train_test_split

from pipeline.data.raw import Raw
from pipeline.dataset import Dataset
from pipeline.errors import UsageError

__all__ = ["prepare"]

Parts = tuple[np.ndarray, np.ndarray]


def prepare(
    raw: Raw, split_seed: int, val_fraction: float, test_fraction: float, train_limit: int | None = None
) -> Dataset:
    """Splits and standardises ``raw``.

    Args:
        split_seed: of the split alone; no member's seed changes it.
        val_fraction: share of all rows that are not the source's own test part.
        test_fraction: likewise; unused where the source has a test part.
        train_limit: at most so many training rows, stratified; None for all.

    Raises:
        UsageError: a class has too few rows to be in every part.
    """
    rest, test = _test_part(raw, split_seed, test_fraction)
    of_rest = val_fraction if raw.x_test is not None else val_fraction / (1 - test_fraction)
    (x, y), (x_val, y_val) = _split(rest, of_rest, split_seed, "dataset.val_fraction", val_fraction)
    if train_limit is not None and train_limit < len(y):
        (x, y), _ = _split((x, y), len(y) - train_limit, split_seed, "dataset.train_limit", train_limit)
    mean, std = _moments(x, raw.images)
    with np.errstate(over="ignore", invalid="ignore"):
        parts = [torch.from_numpy((part.astype(np.float32) - mean) / std) for part in (x, x_val, test[0])]
    if not all(part.isfinite().all() for part in parts):
        raise UsageError.of("dataset", raw.name, "its values are too far apart to be standardised in float32")
    labels = [torch.from_numpy(np.ascontiguousarray(part)) for part in (y, y_val, test[1])]
    split = f"{raw.digest()} {split_seed} {val_fraction} {test_fraction} {train_limit}"
    return Dataset(
        raw.name,
        parts[0],
        labels[0],
        parts[1],
        labels[1],
        parts[2],
        labels[2],
        torch.from_numpy(mean),
        torch.from_numpy(std),
        int(max(part.max() for part in labels)) + 1,
        hashlib.sha256(split.encode()).hexdigest(),
        raw.image_shape,
    )


def _test_part(raw: Raw, seed: int, fraction: float) -> tuple[Parts, Parts]:
    if raw.x_test is not None and raw.y_test is not None:
        return (raw.x, raw.y), (raw.x_test, raw.y_test)
    return _split((raw.x, raw.y), fraction, seed, "dataset.test_fraction", fraction)


def _split(part: Parts, held_out: float | int, seed: int, key: str, given: object) -> tuple[Parts, Parts]:
    x, y = part
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            x_a, x_b, y_a, y_b = train_test_split(x, y, test_size=held_out, stratify=y, random_state=seed)
    except (ValueError, UserWarning) as error:
        reason = str(error).split(". ")[0]
        allowed = f"the {len(y)} rows can't be split so, stratified by class ({reason})"
        raise UsageError.of(key, given, allowed) from None
    return (x_a, y_a), (x_b, y_b)


def _moments(x: np.ndarray, images: bool) -> Parts:
    """Mean and standard deviation, per channel for images and per feature for tables.

    A constant feature keeps its scale (std 1). Sums run in float64.
    """
    axes = (0, 2, 3) if images else (0,)
    mean = x.mean(axes, keepdims=True, dtype=np.float64)[0]
    std = x.std(axes, keepdims=True, dtype=np.float64)[0]
    std[std <= 1e-7 * np.abs(mean)] = 1.0
    return mean.astype(np.float32), std.astype(np.float32)
