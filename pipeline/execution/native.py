"""A stack of MLPs stepped by the lab's own kernels: float32, on the CPU."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.execution.steps import Execution, Steps
from pipeline.layers import Layer
from pipeline.native import MLPKernel, Moments
from pipeline.optim import StackedOptimizer
from pipeline.stack import Parameters, Signals, Stack

__all__ = ["Native", "NativeStack"]


class NativeStack(Stack):
    """Evaluated and looked at by the kernels too. It needs no padding: members share nothing.

    Args:
        layers: of the module, which is a chain (``pipeline.symmetry.is_chain``).
    """

    layers: list[Layer]
    kernel: MLPKernel

    def bind(self, layers: Sequence[Layer]) -> None:
        """Call once, before anything else."""
        self.layers = list(layers)
        self.kernel = MLPKernel(
            [self.parameters[layer.weight] for layer in layers],
            [self.parameters[layer.bias] if layer.bias else None for layer in layers],
            [layer.activation.name for layer in layers if layer.activation is not None],
        )

    def evaluate(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return self.kernel.evaluate(x.flatten(1), y)

    def signals(self, x: Tensor, y: Tensor, slope: Tensor | None = None) -> tuple[Parameters, Signals]:
        gw, gb, signals = self.kernel.gradients(x.flatten(1), y, slope)
        return self.named([t for pair in zip(gw, gb, strict=True) for t in pair]), signals

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

    def advance(self, x: Tensor, y: Tensor, rows: Tensor, *, keep: bool = False) -> Steps:
        spec = self.optimizer.spec
        taken = torch.full((len(self.stack),), self.optimizer.steps)
        moments = Moments(
            *(spec.name, spec.momentum, spec.beta1, spec.beta2, spec.eps),
            *(self.lr, self.decay, taken, self.moments),
        )
        loss, hits, updates = self.stack.kernel.train(x.flatten(1), y, rows.contiguous(), moments, keep)
        self.optimizer.steps += rows.shape[1]
        return Steps(loss, hits, self.stack.named(updates) if keep else None)
