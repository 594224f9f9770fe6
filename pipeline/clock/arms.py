"""The arms: one start, trained again and again with one thing changed.

Every arm begins with the same parameters, rounded to float32, so that all begin with the
same ties, and takes the same number of steps. Full batch, minibatch, dropout and noise
are tried in float64, where round-off is slowest to show; none but the arm called dropout
(and, if it has some, the configured one) has any.
"""

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pipeline.activations import activation_of
from pipeline.dataset import Dataset
from pipeline.init import FitData, initial_parameters
from pipeline.plan import Member, Plan
from pipeline.seeds import stream
from pipeline.stack import ROW_BLOCK
from pipeline.train import train

__all__ = ["ARMS", "DROPOUT", "NOISE", "ArmRecord", "run_arms", "with_dropout", "without_dropout"]

DROPOUT = 0.1
NOISE = 1e-8
MINIBATCH = 32
ARMS = ("configured", "exact", "float64", "float32", "full batch", "minibatch", "dropout", "noise")
CLOCK = ("first_break", "lasting_break", "broken_step")
WIDTHS = ("redundancy/effective_width", "redundancy/functional_width")


@dataclass(frozen=True)
class ArmRecord:
    """What became of the ties of the start in one arm.

    Attributes:
        batch_size: rows a step. steps: how many.
        first_break: the first step at which any tie of the start was broken, -1 if none was.
        lasting_break: the same of the ties that exact arithmetic keeps for ever.
        broken_step: the first step at which no tie was left, -1 if one was. (Noise breaks
            all before the first step, so to the clock there were none.)
        effective_width, functional_width: at the end, as ``redundancy/...``.
        diverged_step: the first step whose loss was not finite, None if there was none.
    """

    name: str
    dtype: str
    batch_size: int
    steps: int
    first_break: int
    lasting_break: int
    broken_step: int
    effective_width: float
    functional_width: float
    diverged_step: int | None


def run_arms(module: nn.Module, data: Dataset, member: Member, plan: Plan) -> dict[str, ArmRecord]:
    """Trains ``member`` under every arm.

    Args:
        module: an MLP (``pipeline.symmetry.is_chain``), with or without dropout.
        data: in any dtype; each arm casts it to its own.
        plan: the arm "configured" is this plan, on the CPU; the others change one thing each.

    Returns:
        One record an arm, under the names in ``ARMS`` and in their order.
    """
    given = member.start or initial_parameters(
        module, member.init, member.seed, FitData.of(data.x_train, data.y_train, data.n_classes)
    )
    start = {name: p.to(torch.float32).to(torch.float64) for name, p in given.items()}
    bare = without_dropout(module)
    rows = len(data.x_train)
    # A GPU adds in no fixed order where ties are kept, and has nothing to gain with single networks.
    base = replace(plan, device="cpu", probes=WIDTHS, probe_points=2, keep_state=False)
    f64 = replace(base, dtype="float64")
    steps = plan.epochs * (rows // plan.batch_size)
    # A whole number of blocks, so that the full batch needs no padding.
    full = rows - rows % ROW_BLOCK if rows > ROW_BLOCK else rows
    small = plan.batch_size if plan.batch_size < rows // 2 else min(MINIBATCH, rows)
    dropped = module if _has_dropout(module) else with_dropout(module, DROPOUT)
    arms: dict[str, tuple[nn.Module, Plan, dict[str, Tensor]]] = {
        "configured": (module, base, start),
        "exact": (bare, replace(f64, keep_ties=True), start),
        "float64": (bare, f64, start),
        "float32": (bare, replace(base, dtype="float32"), start),
        "full batch": (bare, replace(f64, batch_size=full), start),
        "minibatch": (bare, replace(f64, batch_size=small), start),
        "dropout": (dropped, f64, start),
        "noise": (bare, f64, _with_noise(start, member.seed)),
    }
    return {
        name: _run(name, network, _cut(data, full) if name == "full batch" else data, member, arm, values, steps)
        for name, (network, arm, values) in arms.items()
    }


def _run(
    name: str, module: nn.Module, data: Dataset, member: Member, plan: Plan, start: dict[str, Tensor], steps: int
) -> ArmRecord:
    per_epoch = len(data.x_train) // plan.batch_size
    epochs = -(-steps // per_epoch)
    (record,) = train(
        module,
        data.to(plan.device, plan.torch_dtype),
        [replace(member, start=start)],
        replace(plan, epochs=epochs),
    )
    first, lasting, last = (int(record.final[f"symmetry/{key}"]) for key in CLOCK)
    effective, functional = (record.final[key] for key in WIDTHS)
    return ArmRecord(
        name,
        plan.dtype,
        plan.batch_size,
        epochs * per_epoch,
        first,
        lasting,
        last,
        effective,
        functional,
        record.diverged_step,
    )


def _cut(data: Dataset, rows: int) -> Dataset:
    return replace(data, x_train=data.x_train[:rows], y_train=data.y_train[:rows])


def _with_noise(start: dict[str, Tensor], seed: int) -> dict[str, Tensor]:
    """Every parameter moved by N(0, NOISE^2)."""
    generator = stream(seed, "noise")
    return {n: p + NOISE * torch.randn(p.shape, dtype=p.dtype, generator=generator) for n, p in start.items()}


def _has_dropout(module: nn.Module) -> bool:
    return any(isinstance(m, nn.Dropout) and m.p > 0 for m in module.modules())


def with_dropout(module: nn.Module, p: float) -> nn.Module:
    """A copy with dropout after every activation; parameters keep their names."""
    changed = copy.deepcopy(module)
    for name, child in list(changed.named_modules()):
        if activation_of(child) is not None:
            changed.set_submodule(name, nn.Sequential(child, nn.Dropout(p)))
    return changed


def without_dropout(module: nn.Module) -> nn.Module:
    """A copy whose dropout drops nothing."""
    changed = copy.deepcopy(module)
    for child in changed.modules():
        if isinstance(child, nn.Dropout):
            child.p = 0.0
    return changed
