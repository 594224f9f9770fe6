"""The kernels of ``pooling.cpp`` as a module: float32, channels last, on the CPU."""

from ctypes import c_int64
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from pipeline.native.build import library
from pipeline.native.tensors import address

__all__ = ["RectifiedPool"]

LAST = torch.channels_last


class RectifiedPool(nn.Module):
    """``max_pool2d(relu(z), 2)``, to the last bit.

    torch writes the rectified image and a gradient of its size, each four times as large as
    what comes of them, and reads them again. Here each pass reads and writes once.

    Shapes:
        ``(N, C, H, W) -> (N, C, H // 2, W // 2)``.
    """

    def forward(self, z: Tensor) -> Tensor:
        if z.dtype == torch.float32 and z.device.type == "cpu" and z.is_contiguous(memory_format=LAST):
            pooled: Tensor = _RectifiedPool.apply(z)  # type: ignore[no-untyped-call]
            return pooled
        # Rectification keeps the order, so that it may come last, where there is less of it to do.
        return nn.functional.relu(nn.functional.max_pool2d(z, 2))


class _RectifiedPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        n, channels, height, width = ctx.shape = z.shape
        a = torch.empty(n, channels, height // 2, width // 2, memory_format=LAST)
        from_pixel = torch.empty(a.shape, dtype=torch.int32, memory_format=LAST)
        sizes = map(c_int64, (n, height, width, channels))
        library().rectify_and_pool(address(z), *sizes, address(a), address(from_pixel))
        ctx.save_for_backward(from_pixel)
        return a

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        n, channels, height, width = ctx.shape
        (from_pixel,) = ctx.saved_tensors
        slope = slope.contiguous(memory_format=LAST)
        gradient = torch.empty(ctx.shape, memory_format=LAST)
        sizes = map(c_int64, (n, height, width, channels))
        library().rectify_and_pool_backward(address(slope), address(from_pixel), *sizes, address(gradient))
        return gradient
