"""How much memory there is, and what a stack takes of it."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.dataset import Dataset
from pipeline.device import memory_gb
from pipeline.errors import UsageError
from pipeline.free import free_bytes
from pipeline.plan import Plan

__all__ = ["available_gb", "check_room", "member_bytes"]

# Copies of every parameter: itself, its gradient, its update, and one in the making.
COPIES = 4
# Of each parameter at its start: as it is drawn, in float64, in the network, and in the stack.
LEAST_BYTES = 16
# Tensors as large as the signals of a batch: z and a forwards, the same backwards.
SIGNALS = 4


def available_gb(device: str) -> float:
    """Memory that may be taken, in units of 10^9 bytes: all of a GPU's, or what this machine has free."""
    return free_bytes() / 1e9 if device == "cpu" else memory_gb(device)


def check_room(module: nn.Module, name: str) -> None:
    """``UsageError`` for a network whose parameters alone are more than the memory that is free here.

    Args:
        module: the network, whose tensors need not be real. name: what people call it.
    """
    parameters = sum(p.numel() for p in module.parameters())
    needed, free = parameters * LEAST_BYTES / 1e9, available_gb("cpu")
    if needed > free:
        raise UsageError(
            f"{name}: {parameters:.3g} parameters take {needed:.3g} GB or more, and {free:.3g} GB are free"
        )


def member_bytes(module: nn.Module, data: Dataset, plan: Plan) -> int:
    """About what a member of a stack takes while it is trained and probed."""
    parameters = sum(p.numel() for p in module.parameters()) * (COPIES + plan.optimizer.moments)
    per_row = _signals(module, data.x_train[:1])
    item = plan.torch_dtype.itemsize
    training = (parameters + SIGNALS * plan.batch_size * per_row) * item
    probing = SIGNALS * plan.probe_rows * per_row * 8 if plan.probes else 0
    return int(training + probing)


def _signals(module: nn.Module, row: Tensor) -> int:
    """Numbers that the modules of a network put out for one row."""
    sizes: list[int] = [row.numel()]
    leaves: Sequence[nn.Module] = [m for m in module.modules() if next(m.children(), None) is None]
    handles = [
        m.register_forward_hook(lambda _m, _x, out: sizes.append(out.numel() if isinstance(out, Tensor) else 0))
        for m in leaves
    ]
    training = module.training
    try:
        with torch.no_grad():
            module.eval()(row.to(next(module.parameters())))
    finally:
        module.train(training)
        for handle in handles:
            handle.remove()
    return sum(sizes)
