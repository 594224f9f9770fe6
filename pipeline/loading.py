"""The dataset of a configuration, once in a process, and once on each device."""

from functools import lru_cache

import torch

from pipeline.config import Config
from pipeline.data import SOURCES, Dataset, prepare, read_npz
from pipeline.errors import UsageError

__all__ = ["load_dataset", "placed_dataset"]

Key = tuple[str, str | None, int, float, float, int | None]


def load_dataset(config: Config) -> Dataset:
    """On the CPU."""
    return _load(*_key(config))


def placed_dataset(config: Config, device: str, dtype: torch.dtype) -> Dataset:
    """On ``device``, whatever trains on it there."""
    return _placed(_key(config), device, dtype)


def _key(config: Config) -> Key:
    d = config.dataset
    return d.name, d.path, d.split_seed, d.val_fraction, d.test_fraction, d.train_limit


@lru_cache(maxsize=4)
def _placed(key: Key, device: str, dtype: torch.dtype) -> Dataset:
    return _load(*key).to(device, dtype)


@lru_cache(maxsize=2)
def _load(name: str, path: str | None, split_seed: int, val: float, test: float, limit: int | None) -> Dataset:
    if path is None and val + test >= 1:
        raise UsageError.of(
            "dataset.val_fraction", val, f"with dataset.test_fraction={test} nothing is left to train on"
        )
    if path is None and name not in SOURCES:
        raise UsageError.of("dataset.path", path, "dataset=npz needs the path of a local .npz file")
    raw = read_npz(path) if path is not None else SOURCES[name]()
    return prepare(raw, split_seed, val, test, limit)
