"""How much memory this machine, or the container that it is, has left."""

import math
from pathlib import Path

__all__ = ["free_bytes"]

CGROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
MOST = 10**15


def free_bytes() -> int:
    """Bytes that may be taken."""
    limits = [text for path in CGROUP if (text := _read(path)).isdigit()]
    free = next((line.split()[1] for line in _read("/proc/meminfo").splitlines() if "MemAvailable" in line), None)
    return int(min([int(free) * 1024 if free else math.inf, *map(int, limits), MOST]))


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
