"""A stack stepped as one batched program (``torch.func``), eagerly or under ``torch.compile``."""

import warnings
import weakref
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.errors import RunError, in_one_line
from pipeline.execution.steps import Execution, Steps
from pipeline.free import is_out_of_memory
from pipeline.native import Ties
from pipeline.optim import OptimizerSpec, Rates, StackedOptimizer, apply_step
from pipeline.stack import Parameters, Stack
from pipeline.symmetry import Projection

__all__ = ["Compiled", "Stacked"]


class Stacked(Execution):
    """Eagerly.

    Args:
        ties: averages gradients over classes of neurons, where ties are to be kept.
    """

    def __init__(self, stack: Stack, optimizer: StackedOptimizer, ties: Projection | None = None) -> None:
        super().__init__(stack, optimizer)
        self.ties = ties

    def advance(self, x: Tensor, y: Tensor, rows: Tensor, *, keep: bool = False, watch: Sequence[Ties] = ()) -> Steps:  # noqa: ARG002
        losses, hits = [], []  # on the device until the last step, as a GPU stops where its numbers are looked at
        count, updates = len(self.stack), None
        rows = self.stack.filled(rows.to(x.device))
        for i in range(rows.shape[1]):
            updates, loss, logits = self._step(x, y, rows[:, i])
            losses.append(loss[:count].detach())
            hits.append((logits[:count].argmax(-1) == y[rows[:count, i]]).sum(-1))
        return Steps(torch.stack(losses, 1).cpu(), torch.stack(hits, 1).cpu(), updates if keep else None)

    def _step(self, x: Tensor, y: Tensor, rows: Tensor) -> tuple[Parameters, Tensor, Tensor]:
        """Updates, losses and logits."""
        gradients, loss, logits = self.stack.gradients(x[rows], y[rows])
        return self.optimizer.step(self.ties(gradients) if self.ties else gradients), loss, logits


class Compiled(Stacked):
    """The whole step as one program of ``torch.compile``, made once for a network and a stack size.

    Args:
        network: what the stack was made from: its programs are kept as long as it lives.
    """

    def __init__(self, stack: Stack, optimizer: StackedOptimizer, network: nn.Module) -> None:
        super().__init__(stack, optimizer)
        self.program = _program(network, stack, optimizer.spec, optimizer.decays)

    def _step(self, x: Tensor, y: Tensor, rows: Tensor) -> tuple[Parameters, Tensor, Tensor]:
        stack, optimizer = self.stack, self.optimizer
        buffers = stack.buffers | stack.masks.draw(x[rows[0]])
        optimizer.begin()
        found: tuple[Parameters, Tensor, Tensor] = self.program(
            stack.parameters, buffers, optimizer.parameters, optimizer.moments, optimizer.rates, x, y, rows
        )
        return found


Program = Callable[..., Any]
_programs: "weakref.WeakKeyDictionary[nn.Module, dict[object, Program]]" = weakref.WeakKeyDictionary()
_lock = Lock()


def _program(network: nn.Module, stack: Stack, spec: OptimizerSpec, decays: bool) -> Program:
    with _lock:
        made = _programs.setdefault(network, {})
        key = (stack.size, stack.dtype, str(stack.device), spec, decays)
        if key not in made:
            made[key] = _compiled(stack, spec, decays)
        return made[key]


def _compiled(stack: Stack, spec: OptimizerSpec, decays: bool) -> Program:
    from torch._dynamo.exc import TorchDynamoException  # takes half a second, which the other modes need not wait for

    differentiate, module = stack.differentiate, stack.module

    def step(
        parameters: Parameters,
        buffers: Parameters,
        moved: Parameters,
        moments: list[Parameters],
        rates: Rates,
        x: Tensor,
        y: Tensor,
        rows: Tensor,
    ) -> tuple[Parameters, Tensor, Tensor]:
        gradients, (loss, logits) = differentiate(parameters, buffers, x[rows], y[rows])
        return apply_step(spec, decays, moved, moments, gradients, rates), loss, logits

    with warnings.catch_warnings():  # of what the compiler itself imports
        warnings.simplefilter("ignore")
        # For a GPU the compiler would try several orders of a sum and keep the fastest, another one each time.
        options: dict[str, Any] | None = {"deterministic": True} if stack.device.type != "cpu" else None
        compiled = torch.compile(step, dynamic=False, options=options)

    def program(*args: Any) -> Any:
        module.train()
        with _lock, warnings.catch_warnings():  # torch.compile is not safe to enter from two threads
            warnings.simplefilter("ignore")  # its own notes on what it could have done
            try:
                return compiled(*args)
            except TorchDynamoException as error:
                if is_out_of_memory(error):
                    raise
                raise RunError(f"trainer.execution=compiled: torch's compiler failed: {in_one_line(error)}") from error

    return program
