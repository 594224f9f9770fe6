"""torch.optim over a stack, where every member has its own learning rate and decay.

``torch.optim`` takes one learning rate for a whole tensor. So it is given stand-ins that
are zero, and learning rate 1: after its step they hold the *direction* -d, exactly, and
the stack adds ``lr_s * (-d)`` to each member's parameters. That holds for optimisers
whose direction depends on gradients alone; weight decay, which depends on the
parameters, is applied here: to the gradient for SGD and Adam, to the parameters for
AdamW (Loshchilov & Hutter 2019, alg. 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.stack import Parameters

__all__ = ["OPTIMIZERS", "OptimizerSpec", "StackedOptimizer"]

OPTIMIZERS = ("sgd", "adam", "adamw")


@dataclass(frozen=True)
class OptimizerSpec:
    """What all members of a stack share; learning rate and decay are each member's own."""

    name: str = "sgd"
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8


def _per_member(values: Sequence[float], like: Tensor) -> Tensor:
    """``(S, 1, ..., 1)``, to multiply a stacked tensor of ``like``'s rank."""
    column = torch.tensor(values, dtype=like.dtype, device=like.device)
    return column.reshape(-1, *[1] * (like.ndim - 1))


class StackedOptimizer:
    """Steps the parameters of a stack in place.

    Args:
        parameters: ``{name: (S, *shape)}``.
        spec: the optimiser.
        lr, weight_decay: one value a member, S of each.
    """

    def __init__(
        self, parameters: Parameters, spec: OptimizerSpec, lr: Sequence[float], weight_decay: Sequence[float]
    ) -> None:
        self.parameters = parameters
        self.decoupled = spec.name == "adamw"
        self.decays = any(weight_decay)
        self.lr = {name: _per_member(lr, p) for name, p in parameters.items()}
        self.decay = {name: _per_member(weight_decay, p) for name, p in parameters.items()}
        self.direction = {name: torch.zeros_like(p) for name, p in parameters.items()}
        self.optimizer = _build(list(self.direction.values()), spec)

    def step(self, gradients: Parameters) -> Parameters:
        """One step; returns the updates that were added, ``{name: (S, *shape)}``."""
        for name, direction in self.direction.items():
            direction.zero_()
            direction.grad = self._regularised(name, gradients[name])
        self.optimizer.step()
        return {name: self._apply(name) for name in self.direction}

    def _regularised(self, name: str, gradient: Tensor) -> Tensor:
        if self.decoupled or not self.decays:
            return gradient
        return gradient + self.decay[name] * self.parameters[name]

    def _apply(self, name: str) -> Tensor:
        parameter = self.parameters[name]
        update = self.direction[name] * self.lr[name]
        if self.decoupled and self.decays:
            update = update - self.lr[name] * self.decay[name] * parameter
        parameter.add_(update)
        return update


def _build(parameters: list[Tensor], spec: OptimizerSpec) -> torch.optim.Optimizer:
    if spec.name == "sgd":
        return torch.optim.SGD(parameters, lr=1.0, momentum=spec.momentum)
    betas = (spec.beta1, spec.beta2)
    if spec.name == "adam":
        return torch.optim.Adam(parameters, lr=1.0, betas=betas, eps=spec.eps)
    return torch.optim.AdamW(parameters, lr=1.0, betas=betas, eps=spec.eps, weight_decay=0.0)
