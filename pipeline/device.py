"""Where a network is trained: what there is, what it is called, and how it is made to give the same bits each time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from pipeline.errors import UsageError

__all__ = ["GPU_SETTINGS", "device_name", "memory_gb", "reproducible", "resolve_device"]

GPU_SETTINGS: tuple[tuple[Any, str, object], ...] = (
    (torch.backends.cudnn, "benchmark", False),
    (torch.backends.cudnn, "deterministic", True),
    (torch.backends.cudnn.conv, "fp32_precision", "ieee"),  # type: ignore[attr-defined]
    (torch.backends.cuda.matmul, "fp32_precision", "ieee"),
)


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


def memory_gb(device: str) -> float:
    """A GPU's memory, in units of 10^9 bytes: all of it, so that what is decided by it is the same each time."""
    total: int = torch.get_device_module(device).mem_get_info()[1]
    return total / 1e9


@contextmanager
def reproducible(device: str = "cpu") -> Iterator[None]:
    """Within it, the same computation has the same bits.

    On the CPU torch has one thread, so that no sum is split in two. A GPU's products and
    convolutions are of float32 and not TF32, by algorithms that add in one order. (Torch's
    older names for the same, ``cudnn.flags()`` and ``cudnn.allow_tf32``, raise meanwhile.)

    Args:
        device: on which it is computed.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    gpu = GPU_SETTINGS if device != "cpu" else ()
    before = [getattr(of, name) for of, name, _ in gpu]
    try:
        for of, name, value in gpu:
            setattr(of, name, value)
        yield
    finally:
        torch.set_num_threads(threads)
        for (of, name, _), value in zip(gpu, before, strict=True):
            setattr(of, name, value)
