"""How much memory this machine, or the container that it is, has left, and what says that there is none."""

import math
from pathlib import Path

import torch

__all__ = ["free_bytes", "is_out_of_memory"]

CGROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
MOST = 10**15
OUT_OF_MEMORY = ("DefaultCPUAllocator", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "out of memory")


def free_bytes() -> int:
    """Bytes that may be taken."""
    limits = [text for path in CGROUP if (text := _read(path)).isdigit()]
    free = next((line.split()[1] for line in _read("/proc/meminfo").splitlines() if "MemAvailable" in line), None)
    return int(min([int(free) * 1024 if free else math.inf, *map(int, limits), MOST]))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, which the CPU's allocator and GPU libraries do so."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(sign in str(error) for sign in OUT_OF_MEMORY)
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
