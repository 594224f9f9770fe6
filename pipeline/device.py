"""Where a network is trained: what there is, what it is called, and how it is made to give the same bits each time."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipeline.errors import UsageError

__all__ = ["device_name", "free_gb", "reproducible", "resolve_device"]


def resolve_device(device: str) -> str:
    """``auto`` to what is there; ``UsageError`` for a device that isn't."""
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError.of("device", device, "no CUDA device is available here; use cpu or auto")
    return device


def device_name(device: str) -> str:
    """What people call a GPU; ``cpu`` is itself."""
    name: str = device if device == "cpu" else torch.get_device_module(device).get_device_name()
    return name


def free_gb(device: str) -> float:
    """What is free of a GPU's memory, in units of 10^9 bytes."""
    free: int = torch.get_device_module(device).mem_get_info()[0]
    return free / 1e9


@contextmanager
def reproducible() -> Iterator[None]:
    """Within it, the same computation has the same bits.

    On the CPU torch has one thread, so that no sum is split in two. On a GPU convolutions
    are of float32, where cuDNN would round to TF32, and by algorithms that add in one order.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(before)
