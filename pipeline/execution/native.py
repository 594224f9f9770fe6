"""A stack of MLPs stepped by the lab's own kernels: float32, on the CPU."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.execution.steps import Execution, Steps
from pipeline.layers import Layer
from pipeline.native import MLPKernel, Moments, Sought, Ties
from pipeline.optim import StackedOptimizer
from pipeline.stack import Parameters, Pass, Stack

__all__ = ["Native", "NativeStack"]


class NativeStack(Stack):
    """Evaluated and looked at by the kernels too. It needs no padding: members share nothing.

    Args:
        layers: of the module, which is a chain (``pipeline.symmetry.is_chain``).
    """

    native = True
    layers: list[Layer]
    kernel: MLPKernel

    def bind(self, layers: Sequence[Layer]) -> None:
        """Call once, before anything else."""
        self.layers = list(layers)
        self.kernel = self._kernel()

    def _kernel(self, members: Tensor | None = None) -> MLPKernel:
        """Of some members, copied, or of all as they are."""

        def of(name: str | None) -> Tensor | None:
            return (
                None if name is None else self.parameters[name] if members is None else self.parameters[name][members]
            )

        return MLPKernel(
            [weight for layer in self.layers if (weight := of(layer.weight)) is not None],
            [of(layer.bias) for layer in self.layers],
            [layer.activation.name for layer in self.layers if layer.activation is not None],
        )

    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.kernel.evaluate(x.flatten(1), y)

    def passed(
        self, x: Tensor, y: Tensor, sought: Sequence[Sought], slope: Tensor | None = None, signals: bool = True
    ) -> Pass:
        found = self.kernel.gradients(x.flatten(1), y, sought, slope, signals)
        gradients = self.named([t for pair in zip(found.weights, found.biases, strict=True) for t in pair])

        def again(members: Tensor) -> list[tuple[Tensor, Tensor]]:
            return self._kernel(members).gradients(x.flatten(1), y).signals

        return Pass(gradients, found.signals, found.found, found.finite, again)

    def named(self, tensors: Sequence[Tensor | None]) -> Parameters:
        """``w0 b0 w1 b1 ...`` by the parameters' names."""
        names = [name for layer in self.layers for name in (layer.weight, layer.bias)]
        return {name: t for name, t in zip(names, tensors, strict=True) if name is not None and t is not None}


class Native(Execution):
    """By the kernels; each call trains one member after the other."""

    stack: NativeStack

    def __init__(self, stack: NativeStack, optimizer: StackedOptimizer) -> None:
        super().__init__(stack, optimizer)
        self.lr, self.decay = (rate.to(torch.float32) for rate in (optimizer.rates.lr, optimizer.rates.decay))
        names = [name for layer in stack.layers for name in (layer.weight, layer.bias)]
        self.moments = [moment.get(name or "") for moment in optimizer.moments for name in names]

    def advance(self, x: Tensor, y: Tensor, rows: Tensor, *, keep: bool = False, watch: Sequence[Ties] = ()) -> Steps:
        spec = self.optimizer.spec
        taken = torch.full((len(self.stack),), self.optimizer.steps)
        moments = Moments(
            *(spec.name, spec.momentum, spec.beta1, spec.beta2, spec.eps),
            *(self.lr, self.decay, taken, self.moments),
        )
        loss, hits, updates = self.stack.kernel.train(x.flatten(1), y, rows.contiguous(), moments, keep, watch)
        self.optimizer.steps += rows.shape[1]
        return Steps(loss, hits, self.stack.named(updates) if keep else None, watch)
