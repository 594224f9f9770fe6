"""On what a row was measured, and whether something else was running."""

import importlib.metadata
import os
import platform
import time
from pathlib import Path

__all__ = ["busy_elsewhere", "environment"]

PACKAGES = ("torch", "numpy", "mlflow", "optuna", "hydra-core")


def environment() -> dict[str, str]:
    """Processor, cores, memory, GPU, system, and the versions of what is compared."""
    found = {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    import torch

    if torch.cuda.is_available():
        found["GPU"] = torch.cuda.get_device_name()
    return found


def _processor() -> str:
    """The model's name, family and number, and the widest vector unit."""
    facts: dict[str, str] = {}
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.is_file() else ():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    if "model name" not in facts:
        return platform.processor() or platform.machine()
    vector = next((v for v in ("avx512f", "avx2") if v in facts.get("flags", "").split()), "")
    return f"{facts['model name']} family {facts.get('cpu family')} model {facts.get('model')} {vector}".strip()


def busy_elsewhere(seconds: float = 1.0) -> float:
    """Cores that others keep busy while this process sleeps for ``seconds``; NaN where it can't be told."""
    stat = Path("/proc/stat")
    if not stat.is_file():
        return float("nan")

    def busy() -> float:
        user, nice, system, _, _, irq, softirq, steal = map(int, stat.read_text().split("\n", 1)[0].split()[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")

    before, begun = busy(), time.perf_counter()
    time.sleep(seconds)
    return (busy() - before) / (time.perf_counter() - begun)
