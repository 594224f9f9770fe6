"""Optimisers over a stack, where every member has its own learning rate and decay.

SGD with momentum, Adam (Kingma & Ba 2015, alg. 1) and AdamW (Loshchilov & Hutter 2019,
alg. 2) as ``torch.optim`` has them, which takes one learning rate for a whole tensor.
Weight decay is added to the gradient for SGD and Adam, to the update for AdamW.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.stack import Parameters

__all__ = ["OPTIMIZERS", "OptimizerSpec", "Rates", "StackedOptimizer", "apply_step"]

OPTIMIZERS = ("sgd", "adam", "adamw")


@dataclass(frozen=True)
class OptimizerSpec:
    """What all members of a stack share; learning rate and decay are each member's own."""

    name: str = "sgd"
    momentum: float = 0.0
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    @property
    def moments(self) -> int:
        """How many tensors it keeps for each parameter."""
        return int(self.momentum != 0) if self.name == "sgd" else 2


def _per_member(values: Tensor, like: Tensor) -> Tensor:
    """``(S, 1, ..., 1)``, to multiply a stacked tensor of ``like``'s rank."""
    return values.to(like.device, like.dtype).reshape(-1, *[1] * (like.ndim - 1))


@dataclass(frozen=True)
class Rates:
    """What scales the updates: tensors, so that a compiled step need not be compiled anew.

    Attributes:
        lr, decay: ``(S,)`` float64.
        corrections: ``(2,)`` float64, of Adam's moments: 1 / (1 - beta1^t), sqrt(1 - beta2^t).
    """

    lr: Tensor
    decay: Tensor
    corrections: Tensor


def apply_step(
    spec: OptimizerSpec,
    decays: bool,
    parameters: Parameters,
    moments: Sequence[Parameters],
    gradients: Parameters,
    rates: Rates,
) -> Parameters:
    """Adds one step's updates to the parameters in place, and returns them.

    Args:
        decays: whether any member has weight decay.
        moments: moved in place too.
    """
    made = {}
    for name, parameter in parameters.items():
        lr, decay = (_per_member(rate, parameter) for rate in (rates.lr, rates.decay))
        gradient = gradients[name]
        if decays and spec.name != "adamw":
            gradient = gradient + decay * parameter
        update = _direction(spec, [moment[name] for moment in moments], gradient, rates.corrections) * lr
        if decays and spec.name == "adamw":
            update = update - lr * decay * parameter
        parameter.add_(update)
        made[name] = update
    return made


def _direction(spec: OptimizerSpec, moments: Sequence[Tensor], gradient: Tensor, corrections: Tensor) -> Tensor:
    """The update for a learning rate of 1."""
    if spec.name == "sgd":
        if not moments:
            return -gradient
        (velocity,) = moments
        velocity.mul_(spec.momentum).add_(gradient)
        return -velocity
    first, second = moments
    first.lerp_(gradient, 1 - spec.beta1)
    second.mul_(spec.beta2).addcmul_(gradient, gradient, value=1 - spec.beta2)
    corrections = corrections.to(gradient.dtype)
    size = second.sqrt() / corrections[1] + spec.eps
    return first / size * -corrections[0]


class StackedOptimizer:
    """Steps the parameters of a stack in place.

    Args:
        parameters: ``{name: (S, *shape)}``, those that are trained.
        spec: the optimiser.
        lr, weight_decay: one value a member, S of each.

    Attributes:
        steps: taken so far.
        moments: what it keeps, each like ``parameters``: the momentum's buffer, or Adam's
            first and second moments.
    """

    def __init__(
        self, parameters: Parameters, spec: OptimizerSpec, lr: Sequence[float], weight_decay: Sequence[float]
    ) -> None:
        self.parameters, self.spec = parameters, spec
        device = next(iter(parameters.values())).device
        self.rates = Rates(*(torch.tensor(v, dtype=torch.float64, device=device) for v in (lr, weight_decay, [1, 1])))
        self.decays = any(weight_decay)
        self.moments = [{name: torch.zeros_like(p) for name, p in parameters.items()} for _ in range(spec.moments)]
        self.steps = 0

    def begin(self) -> None:
        """Counts a step."""
        self.steps += 1
        if self.spec.name != "sgd":
            self.rates.corrections[0] = 1 / (1 - self.spec.beta1**self.steps)
            self.rates.corrections[1] = (1 - self.spec.beta2**self.steps) ** 0.5

    def step(self, gradients: Parameters) -> Parameters:
        """One step; returns the updates that were added, ``{name: (S, *shape)}``."""
        self.begin()
        return apply_step(self.spec, self.decays, self.parameters, self.moments, gradients, self.rates)
