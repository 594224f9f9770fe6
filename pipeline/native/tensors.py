"""Torch tensors as C++ sees them."""

from collections.abc import Sequence
from ctypes import Array, c_void_p

import torch
from torch import Tensor

__all__ = ["address", "addresses", "check", "enough_memory"]


def check(tensor: Tensor | None, dtype: torch.dtype) -> None:
    """ValueError for a tensor that C++ would misread."""
    if tensor is not None and not (tensor.is_contiguous() and tensor.dtype == dtype and tensor.device.type == "cpu"):
        raise ValueError(f"a contiguous {dtype} tensor on the CPU is needed, not {tensor.dtype} {tensor.stride()}")


def address(tensor: Tensor) -> c_void_p:
    return c_void_p(tensor.data_ptr())


def addresses(tensors: Sequence[Tensor | None]) -> "Array[c_void_p]":
    """Null where there is none, and at the end."""
    return (c_void_p * (len(tensors) + 1))(*[None if t is None else t.data_ptr() for t in tensors])


def enough_memory(failed: int) -> None:
    """MemoryError for what a kernel returns where it ran out of it."""
    if failed:
        raise MemoryError
