"""Training: a stack of networks, from their initial parameters to their records.

No I/O happens here. ``train`` reads as it runs: build the stack, look at it, step it on
each member's own batches, and look again where the schedule says so.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from pipeline.dataset import Dataset
from pipeline.device import reproducible
from pipeline.execution import Compiled, Execution, Loop, LoopStack, Native, NativeStack, Stacked, State
from pipeline.init import FitData, initial_parameters
from pipeline.layers import Layer, trace_layers
from pipeline.observe import Observer, Seen
from pipeline.optim import StackedOptimizer
from pipeline.orders import orders_of
from pipeline.paused import Paused
from pipeline.plan import Member, Plan
from pipeline.records import MemberRecord
from pipeline.stack import Parameters, Stack, slot_independent
from pipeline.symmetry import Projection

__all__ = ["Training", "build_stack", "stacks_of", "train", "with_starts"]

# Steps between two chances to end a training.
LONGEST_STRIDE = 32
# Slots of a stack of a fixed size in which it is tried whether a member has the bits there that it has alone.
TRIED = 5
# Of the modes whose stack isn't any.
KINDS = {"native": NativeStack, "loop": LoopStack}


class Training:
    """A stack under way.

    Args:
        module: the structure; its own parameter values matter only where no scheme applies.
        data: on the plan's device, in the plan's dtype.
        start: members at their start, or paused ones of the same structure, plan and epoch.

    """

    def __init__(
        self, module: nn.Module, data: Dataset, start: Sequence[Member] | Sequence[Paused], plan: Plan
    ) -> None:
        paused = [part for part in start if isinstance(part, Paused)]
        self.members = [m for part in paused for m in part.members] or [m for m in start if isinstance(m, Member)]
        self.data, self.plan = data, plan
        state = State.joined([part.state for part in paused]) if paused else None
        self.epoch = paused[0].epoch if paused else 0
        self.orders = [orders_of(m.seed, len(data.x_train)) for m in self.members]
        slots = plan.slots if plan.slots and _shareable(module, data, self.members, plan) else 0
        self.stack = build_stack(module, self.members, data, replace(plan, slots=slots), state)
        layers = trace_layers(self.stack.module, data.x_train[:2])
        self.execution = _execution(module, self.stack, layers, self.members, plan, data)
        seen = None
        if paused and state is not None:
            self.execution.resume(state)
            self.stack.masks.resume({seed: at for part in paused for seed, at in part.masks.items()})
            seen = Seen.joined([part.seen for part in paused], self.stack, layers)
        self.observer = Observer(self.stack, layers, data, plan, seen, state.steps if state else 0)

    def run(
        self, until: int, on_epoch: Callable[[int], None] | None = None, check: Callable[[], None] | None = None
    ) -> None:
        """Trains up to the end of epoch ``until``.

        Args:
            on_epoch: called after each epoch with its number, from 1.
            check: called every few steps; what it raises ends the training.
        """
        size = self.plan.batch_size
        steps = len(self.data.x_train) // size
        while self.epoch < until:
            order = torch.stack([orders.of(self.epoch) for orders in self.orders])
            batches = order[:, : steps * size].reshape(len(order), steps, size)
            done = 0
            while done < steps:
                n = self.observer.stride(min(steps - done, LONGEST_STRIDE))
                if check is not None:
                    check()
                keep = self.observer.looks_at_updates(self.observer.step + n)
                taken = batches[:, done : done + n]
                ties = self.observer.ties_to_watch()
                steps_taken = self.execution.advance(self.data.x_train, self.data.y_train, taken, keep=keep, watch=ties)
                self.observer.after_steps(steps_taken)
                done += n
            self.observer.after_epoch()
            self.epoch += 1
            if on_epoch is not None:
                on_epoch(self.epoch)

    def pause(self) -> Paused:
        """A copy of what the members need to go on."""
        return Paused(self.members, self.epoch, self.execution.state(), self.observer.seen, self.stack.masks.states())

    def finish(self) -> list[MemberRecord]:
        """One record a member, in their order."""
        records = self.observer.finish([m.seed for m in self.members])
        for record in records:
            record.execution = self.plan.execution
        if self.plan.keep_state:
            for i, record in enumerate(records):
                record.state = {name: t.cpu().numpy() for name, t in self.stack.member(i).items()}
        return records


def train(
    module: nn.Module,
    data: Dataset,
    members: Sequence[Member],
    plan: Plan,
    on_epoch: Callable[[int], None] | None = None,
) -> list[MemberRecord]:
    """Trains ``members``, networks with the structure of ``module``.

    They share a stack where that changes no bit of any of them, and are trained one by one
    where it would: a member's numbers never depend on its company.

    Args:
        module: the structure; its own parameter values matter only where no scheme applies.
        data: on the plan's device, in the plan's dtype.
        on_epoch: called after each epoch of a shared stack with its number, from 1.

    Returns:
        One record a member, in the order of ``members``.
    """
    records = []
    with reproducible(plan.device):
        parts = stacks_of(module, data, members, plan)
        for part in parts:
            training = Training(module, data, part, plan)
            training.run(plan.epochs, on_epoch if len(parts) == 1 else None)
            records += training.finish()
    return records


def stacks_of(module: nn.Module, data: Dataset, members: Sequence[Member], plan: Plan) -> list[Sequence[Member]]:
    """The members in the stacks in which they can be trained: one, or one each."""
    alone = len(members) > 1 and not (plan.execution == "native" or _shareable(module, data, members, plan))
    return [[member] for member in members] if alone else [members]


# Of each network: the kinds of stack that were found to give each member the bits it has alone.
_checked: "weakref.WeakKeyDictionary[nn.Module, dict[object, bool]]" = weakref.WeakKeyDictionary()


def _shareable(module: nn.Module, data: Dataset, members: Sequence[Member], plan: Plan) -> bool:
    """Whether a stack of this size gives each member the gradients it gets alone, to the last bit.

    Tried, once for a network and a size, as it depends on functions that a ``forward`` may call.
    """
    if plan.execution == "loop" or not (plan.slots or slot_independent(module)):
        return False
    known = _checked.setdefault(module, {})
    key = (plan.slots or len(members), plan.batch_size, plan.dtype, plan.device)
    if key not in known:
        known[key] = _independent(module, members, data, plan)
    return known[key]


def _independent(module: nn.Module, members: Sequence[Member], data: Dataset, plan: Plan) -> bool:
    x, y = data.x_train[: plan.batch_size], data.y_train[: plan.batch_size]
    members = with_starts(members, module, data)

    def gradients(of: Sequence[Member]) -> Parameters:
        stack = build_stack(module, of, data, plan)
        return stack.gradients(x.expand(stack.size, *x.shape), y.expand(stack.size, -1))[0]

    together = gradients(members)
    slots = len(next(iter(together.values()))) if plan.slots else len(members)
    tried = {round(i * (slots - 1) / (TRIED - 1)) for i in range(TRIED)} if plan.slots else range(slots)
    for i in tried:
        alone = gradients([members[i] if i < len(members) else members[0]])
        if not all(_same_bits(together[name][i], g[0]) for name, g in alone.items()):
            return False
    return True


def _same_bits(a: Tensor, b: Tensor) -> bool:
    return bool(((a == b) | (a.isnan() & b.isnan())).all())


def with_starts(members: Sequence[Member], module: nn.Module, data: Dataset) -> list[Member]:
    """The members with the parameters that their inits draw, but for those that have some to start from."""
    fit = FitData.of(data.x_train, data.y_train, data.n_classes)
    return [
        m if m.start is not None else replace(m, start=initial_parameters(module, m.init, m.seed, fit)) for m in members
    ]


def build_stack(
    module: nn.Module, members: Sequence[Member], data: Dataset, plan: Plan, state: State | None = None
) -> Stack:
    """The networks at their start, or in ``state``."""
    if state is None:
        initial = [dict(m.start or {}) for m in with_starts(members, module, data)]
    else:
        initial = [{name: p[i] for name, p in state.parameters.items()} for i in range(len(members))]
    kind = KINDS.get(plan.execution, Stack)
    padding = plan.batch_size if plan.execution in ("stacked", "compiled") else None
    stack = kind(module, initial, plan.torch_dtype, padding, plan.device, [m.seed for m in members], plan.slots)
    if state is not None:
        stack.buffers = {name: stack.filled(b) for name, b in state.buffers.items()}
    if isinstance(stack, NativeStack):
        stack.bind(trace_layers(stack.module, data.x_train[:2]))
    if isinstance(stack, LoopStack):
        stack.bind()
    return stack


def _execution(
    module: nn.Module, stack: Stack, layers: list[Layer], members: Sequence[Member], plan: Plan, data: Dataset
) -> Execution:
    optimizer = _optimizer(stack, members, plan)
    if isinstance(stack, NativeStack):
        return Native(stack, optimizer)
    if isinstance(stack, LoopStack):
        return Loop(stack, optimizer)
    if plan.execution == "compiled":
        return Compiled(stack, optimizer, module)
    return Stacked(stack, optimizer, Projection(stack, layers, data.x_train[:2]) if plan.keep_ties else None)


def _optimizer(stack: Stack, members: Sequence[Member], plan: Plan) -> StackedOptimizer:
    padding = stack.size - len(members)
    lr = [m.lr for m in members] + [members[0].lr] * padding
    decay = [m.weight_decay for m in members] + [members[0].weight_decay] * padding
    moved = {name: p for name, p in stack.parameters.items() if name in stack.trainable}
    return StackedOptimizer(moved, plan.optimizer, lr, decay)
