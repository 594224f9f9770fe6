"""A stack: S networks of one structure, held as one set of tensors with a leading axis S.

A member's float32 numbers must be the same to the last bit whatever shares its stack and
wherever it sits. Three things make it so, and ``tests/test_stack.py`` checks them:

* matrix products don't depend on the slot: ``MKL_CBWR`` in ``pipeline/__init__.py``;
* elementwise kernels treat the last few elements of a tensor apart, with other rounding
  (sigmoid does): every tensor is a whole number of SIMD blocks, because S times the rows
  of a batch is a multiple of ``ROW_BLOCK``. Where rows alone don't give that, the stack
  is padded with copies of its first member;
* nothing is split between threads: training runs under ``pipeline.device.reproducible``.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from pipeline.activations import ACTIVATIONS
from pipeline.dropout import Masks, refuse_other_dropout, with_masked_dropout
from pipeline.native import Found, Sought

__all__ = ["ROW_BLOCK", "Parameters", "Pass", "Stack", "padded_size", "slot_independent"]

Parameters = dict[str, Tensor]


@dataclass(frozen=True)
class Pass:
    """What a forward and backward pass on rows shared by all members gave.

    Attributes:
        gradients: of each member's loss, ``{name: (S, *shape)}``.
        signals: pre-activations and activations of each call of an activation, ``(S, rows, ...)``;
            none where they weren't wanted.
        found: what the lab's kernels saw in each hidden layer, if they made the pass.
        finite: ``(S,)``, whether weights, gradients and pre-activations are; if they did.
        again: the signals of some members, ``(k,)`` of them by their numbers; if they did.
    """

    gradients: Parameters
    signals: list[tuple[Tensor, Tensor]]
    found: Sequence[Found] | None = None
    finite: Tensor | None = None
    again: Callable[[Tensor], list[tuple[Tensor, Tensor]]] | None = None


# Two AVX-512 vectors of float32: the unit in which elementwise kernels advance.
ROW_BLOCK = 32
# Leaf modules whose kernels give each member the same bits in any stack (tests/test_train.py).
INDEPENDENT = {
    *(nn.Linear, nn.LayerNorm, nn.Flatten, nn.Identity, nn.Dropout),
    *(a.module for a in ACTIVATIONS.values()),
}
# Rows of one evaluation pass, a multiple of ROW_BLOCK; bounds its memory.
EVALUATION_ROWS = 1024


def slot_independent(module: nn.Module) -> bool:
    """Whether a network is made of modules whose results don't depend on the stack around them.

    Grouped convolutions, into which vmap turns a stack of convolutions, and batch
    normalisation take other paths for other numbers of groups; of modules that aren't
    known here the same is assumed.
    """
    for child in module.modules():
        leaf = next(child.children(), None) is None
        own = next(child.parameters(recurse=False), None) is not None
        if (leaf or own) and type(child) not in INDEPENDENT:
            return False
    return True


def padded_size(members: int, batch_size: int) -> int:
    """The smallest stack for ``members`` in which S * batch_size is a multiple of ROW_BLOCK."""
    block = ROW_BLOCK // math.gcd(ROW_BLOCK, batch_size)
    return -(-members // block) * block


def _logits(module: nn.Module, parameters: Parameters, buffers: Parameters, x: Tensor) -> Tensor:
    logits: Tensor = functional_call(module, (parameters, buffers), (x,))
    return logits


def _loss(
    module: nn.Module, parameters: Parameters, buffers: Parameters, x: Tensor, y: Tensor
) -> tuple[Tensor, Tensor]:
    logits = _logits(module, parameters, buffers, x)
    return nn.functional.cross_entropy(logits, y), logits


class Stack:
    """S networks with the structure of ``module``.

    Args:
        module: the structure; its own parameter values are not used.
        members: the parameters of each, as named by ``module.named_parameters()``.
        dtype: float32 or float64.
        batch_size: rows of a training batch, for padding; None: without padding.
        seeds: the members', from whose streams dropout draws its masks; without, all are 0.
        slots: how many members the stack has with its padding, whatever the batch; 0: as many as there need be.

    Attributes:
        parameters: ``{name: (S, *shape)}``; S counts the padding, ``len(stack)`` doesn't.
        looked: of how many members sums are taken, which who looks cuts to ``len(stack)``: with slots of all,
            since a GPU adds in another order for another number of sums.
        trainable: names of those that an optimiser may move.
        native: whether the lab's kernels compute it: all is float32, contiguous and on the CPU.
    """

    native = False

    def __init__(
        self,
        module: nn.Module,
        members: list[Parameters],
        dtype: torch.dtype,
        batch_size: int | None,
        device: torch.device | str = "cpu",
        seeds: Sequence[int] = (),
        slots: int = 0,
    ) -> None:
        refuse_other_dropout(module)
        self.module = with_masked_dropout(copy.deepcopy(module).to(device, dtype))
        self.count = len(members)
        if 0 < slots < self.count:
            raise ValueError(f"{self.count} members don't fit into {slots} slots")
        self.size = slots or (self.count if batch_size is None else padded_size(self.count, batch_size))
        self.looked = self.size if slots else self.count
        self.dtype, self.device = dtype, torch.device(device)
        self.parameters = {
            name: self.filled(torch.stack([member[name] for member in members]).to(device, dtype))
            for name in members[0]
        }
        self.trainable = {name for name, p in self.module.named_parameters() if p.requires_grad}
        self.buffers: Parameters = {
            name: b.expand(self.size, *b.shape).clone() for name, b in self.module.named_buffers()
        }
        drawn_by = list(seeds) or [0] * self.count
        self.masks = Masks(self.module, drawn_by + drawn_by[:1] * (self.size - self.count))
        self.differentiate: Callable[..., tuple[Parameters, tuple[Tensor, Tensor]]] = vmap(
            grad_and_value(partial(_loss, self.module), has_aux=True)
        )
        self._forward: Callable[[Parameters, Parameters, Tensor], Tensor] = vmap(partial(_logits, self.module))

    def __len__(self) -> int:
        return self.count

    def filled(self, tensor: Tensor) -> Tensor:
        """``(count, ...)`` with the first member's repeated for the padding, ``(S, ...)``."""
        spare = self.size - self.count
        return torch.cat([tensor, tensor[:1].expand(spare, *tensor.shape[1:])]) if spare else tensor

    def passed(
        self,
        x: Tensor,  # noqa: ARG002
        y: Tensor,  # noqa: ARG002
        sought: Sequence[Sought],  # noqa: ARG002
        slope: Tensor | None = None,  # noqa: ARG002
        signals: bool = True,  # noqa: ARG002
    ) -> Pass | None:
        """A forward and backward pass on rows shared by all members, evaluation mode.

        Args:
            sought: what to look for in each hidden layer on the way.
            slope: ``(rows, classes)``, the gradient by the logits of another loss than the
                mean cross-entropy.
            signals: whether the signals themselves are wanted.

        Returns:
            None where the stack has no way of its own.
        """
        return None

    def gradients(self, x: Tensor, y: Tensor) -> tuple[Parameters, Tensor, Tensor]:
        """Gradients, losses and logits of every member on its own batch, under new dropout masks.

        The loss is the mean over the batch; members don't mix, so each gradient is what
        the member alone would get.

        Args:
            x: ``(S, rows, *input_shape)``. y: ``(S, rows)`` class indices.

        Returns:
            ``{name: (S, *shape)}``, ``(S,)`` in nats, ``(S, rows, classes)``.
        """
        masks = self.masks.draw(x[0])
        self.module.train()
        gradients, (loss, logits) = self.differentiate(self.parameters, self.buffers | masks, x, y)
        return gradients, loss, logits

    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Mean loss (nats) and accuracy (0..1) of each member on the same rows.

        A network whose logits are not finite predicts nothing: its accuracy there is 0.

        Args:
            x: ``(rows, *input_shape)``. y: ``(rows,)``.

        Returns:
            Two float64 tensors ``(count,)``.
        """
        loss = torch.zeros(self.looked, dtype=torch.float64, device=x.device)
        hits = torch.zeros_like(loss)
        for start in range(0, len(x), EVALUATION_ROWS):
            rows = x[start : start + EVALUATION_ROWS]
            labels = y[start : start + EVALUATION_ROWS]
            logits = self.logits(rows)[: self.looked].to(torch.float64)
            targets = labels.expand(self.looked, -1)
            loss += nn.functional.cross_entropy(logits.mT, targets, reduction="none").sum(1)
            correct = (logits.argmax(-1) == targets) & logits.isfinite().all(-1)
            hits += correct.sum(1)
        return (loss / len(x))[: self.count], (hits / len(x))[: self.count]

    def logits(self, x: Tensor) -> Tensor:
        """Logits ``(S, rows, classes)`` of every member on the same ``(rows, *input_shape)``."""
        rows = len(x)
        spare = -rows % ROW_BLOCK
        whole = torch.cat([x, x[:1].expand(spare, *x.shape[1:])]) if spare else x
        self.module.eval()
        with torch.no_grad():
            return self._forward(self.parameters, self.buffers, whole.expand(self.size, *whole.shape))[:, :rows]

    def member(self, index: int) -> Parameters:
        """A copy of one member's parameters and buffers, as in a ``state_dict``."""
        state = self.parameters | self.buffers
        return {name: p[index].detach().clone() for name, p in state.items()}

    def finite(self) -> Tensor:
        """Which members' parameters are all finite: ``(count,)`` booleans."""
        checks = [p[: self.count].flatten(1).isfinite().all(1) for p in self.parameters.values()]
        return torch.stack(checks).all(0)
