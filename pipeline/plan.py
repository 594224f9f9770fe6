"""What to train: each member's own numbers, and the plan that a stack shares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pipeline.init import InitSpec
from pipeline.optim import OptimizerSpec

__all__ = ["Member", "Plan"]


@dataclass(frozen=True)
class Member:
    """What a member doesn't share with its stack.

    Attributes:
        start: parameters to start from, in place of those that ``init`` draws.
    """

    seed: int
    init: InitSpec
    lr: float = 0.05
    weight_decay: float = 0.0
    start: Mapping[str, Tensor] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Plan:
    """What all members of a stack share.

    Attributes:
        epochs: passes over the training part; an epoch's last, incomplete batch is left
            out (another one each epoch, as the order changes).
        batch_size: rows a step, at most the size of the training part.
        dtype: ``float32`` or ``float64``.
        probes: names of probes, measured at ``probe_points`` log-spaced steps on the first
            ``probe_rows`` rows of the training part.
        keep_state: whether the records hold the trained parameters.
        keep_ties: whether gradients are averaged over the classes of ``pipeline.symmetry``,
            so that round-off breaks no tie; for MLPs only.
        execution: one of ``pipeline.execution.MODES``.
        slots: members of every stack on a GPU, which fills them up with copies of the first: its libraries
            choose their algorithms by the size of a stack, and another algorithm has other bits. 0: as many as there
            are, as on a CPU, where bits don't depend on it.
    """

    epochs: int = 20
    batch_size: int = 64
    optimizer: OptimizerSpec = field(default_factory=OptimizerSpec)
    dtype: str = "float32"
    device: str = "cpu"
    probes: Sequence[str] = ()
    probe_points: int = 6
    probe_rows: int = 256
    keep_state: bool = False
    keep_ties: bool = False
    execution: str = "stacked"
    slots: int = 0

    @property
    def torch_dtype(self) -> torch.dtype:
        return torch.float64 if self.dtype == "float64" else torch.float32
