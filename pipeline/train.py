"""Training: a stack of networks, from their initial parameters to their records.

No I/O happens here. ``train`` reads as it runs: build the stack, look at it, and for
every step take each member's batch, step, and look again where the schedule says so.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from pipeline.dataset import Dataset
from pipeline.init import FitData, initial_parameters
from pipeline.layers import trace_layers
from pipeline.observe import Observer
from pipeline.optim import StackedOptimizer
from pipeline.plan import Member, Plan
from pipeline.records import MemberRecord
from pipeline.seeds import stream
from pipeline.stack import Parameters, Stack, one_thread, slot_independent
from pipeline.symmetry import Projection

__all__ = ["build_stack", "train"]


class BatchOrder:
    """Each member's own order of the data, drawn anew every epoch from its own stream."""

    def __init__(self, seeds: Sequence[int], size: int, rows: int, device: str) -> None:
        self.slots = {seed: [i for i, s in enumerate(seeds) if s == seed] for seed in seeds}
        self.generators = {seed: stream(seed, "data order") for seed in self.slots}
        self.rows = rows
        self.order = torch.zeros(size, rows, dtype=torch.int64)
        self.device = device

    def epoch(self) -> Tensor:
        """Indices ``(S, rows)``; the padding repeats the first member's."""
        for seed, slots in self.slots.items():
            self.order[slots] = torch.randperm(self.rows, generator=self.generators[seed])
        count = sum(map(len, self.slots.values()))
        self.order[count:] = self.order[0]
        return self.order.to(self.device)


def train(
    module: nn.Module,
    data: Dataset,
    members: Sequence[Member],
    plan: Plan,
    on_epoch: Callable[[int], None] | None = None,
) -> list[MemberRecord]:
    """Trains ``members``, networks with the structure of ``module``, as one stack.

    Networks whose kernels may give other last bits in a stack than alone are trained one
    by one, so that a member's numbers never depend on its company.

    Args:
        module: the structure; its own parameter values matter only where no scheme applies.
        data: on the plan's device, in the plan's dtype.
        on_epoch: called after each epoch with its number, from 1.

    Returns:
        One record a member, in the order of ``members``.
    """
    with one_thread():
        if len(members) > 1 and not (slot_independent(module) and _independent(module, members, data, plan)):
            return [_train(module, data, [member], plan, None)[0] for member in members]
        return _train(module, data, members, plan, on_epoch)


def _train(
    module: nn.Module,
    data: Dataset,
    members: Sequence[Member],
    plan: Plan,
    on_epoch: Callable[[int], None] | None,
) -> list[MemberRecord]:
    stack = build_stack(module, members, data, plan)
    optimizer = _optimizer(stack, members, plan)
    layers = trace_layers(stack.module, data.x_train[:2])
    observer = Observer(stack, layers, data, plan)
    ties = Projection(stack, layers, data.x_train[:2]) if plan.keep_ties else None
    order = BatchOrder([m.seed for m in members], stack.size, len(data.x_train), plan.device)
    steps = len(data.x_train) // plan.batch_size
    for epoch in range(plan.epochs):
        indices = order.epoch()
        for i in range(steps):
            rows = indices[:, i * plan.batch_size : (i + 1) * plan.batch_size]
            x, y = data.x_train[rows], data.y_train[rows]
            gradients, loss, logits = stack.gradients(x, y)
            updates = optimizer.step(ties(gradients) if ties else gradients)
            observer.after_step(loss, logits, y, updates)
        observer.after_epoch()
        if on_epoch is not None:
            on_epoch(epoch + 1)
    records = observer.finish([m.seed for m in members])
    if plan.keep_state:
        for i, record in enumerate(records):
            record.state = {name: t.cpu().numpy() for name, t in stack.member(i).items()}
    return records


def _independent(module: nn.Module, members: Sequence[Member], data: Dataset, plan: Plan) -> bool:
    """Whether each member gets the same gradients in this stack as alone, to the last bit.

    Catches what ``slot_independent`` can't see: functions that a ``forward`` calls.
    """
    x, y = data.x_train[: plan.batch_size], data.y_train[: plan.batch_size]

    def gradients(of: Sequence[Member]) -> Parameters:
        stack = build_stack(module, of, data, plan)
        return stack.gradients(x.expand(stack.size, *x.shape), y.expand(stack.size, -1))[0]

    together = gradients(members)
    for i, member in enumerate(members):
        alone = gradients([member])
        if not all(_same_bits(together[name][i], g[0]) for name, g in alone.items()):
            return False
    return True


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | (a.isnan() & b.isnan())).all())


def build_stack(module: nn.Module, members: Sequence[Member], data: Dataset, plan: Plan) -> Stack:
    """The networks at their start."""
    fit = FitData.of(data.x_train, data.y_train, data.n_classes)
    initial = [dict(m.start) if m.start else initial_parameters(module, m.init, m.seed, fit) for m in members]
    seeds = [m.seed for m in members]
    return Stack(module, initial, plan.torch_dtype, plan.batch_size, plan.device, seeds)


def _optimizer(stack: Stack, members: Sequence[Member], plan: Plan) -> StackedOptimizer:
    padding = stack.size - len(members)
    lr = [m.lr for m in members] + [members[0].lr] * padding
    decay = [m.weight_decay for m in members] + [members[0].weight_decay] * padding
    moved = {name: p for name, p in stack.parameters.items() if name in stack.trainable}
    return StackedOptimizer(moved, plan.optimizer, lr, decay)
