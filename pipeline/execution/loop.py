"""One network stepped as anybody would: ``nn.Module``, backward, ``torch.optim``."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pipeline.execution.fusing import fused
from pipeline.execution.steps import Execution, State, Steps
from pipeline.native import Ties
from pipeline.optim import OptimizerSpec, StackedOptimizer
from pipeline.stack import Parameters, Stack

__all__ = ["Loop", "LoopStack"]

# Of one pass of an evaluation: feature maps of more than a training batch would leave the cache.
CACHED_ROWS = 128
# Under what names torch.optim keeps the moments.
MOMENTS = {"sgd": ("momentum_buffer",), "adam": ("exp_avg", "exp_avg_sq"), "adamw": ("exp_avg", "exp_avg_sq")}


class LoopStack(Stack):
    """A stack of one, whose network is evaluated as it is stepped: without vmap, which takes three times as long.

    The network's parameters and buffers are the stack's first and only ones, not copies.
    """

    def bind(self) -> None:
        """Call once, before anything else.

        Raises:
            ValueError: there are several members.
        """
        if self.size != 1:
            raise ValueError(f"a plain loop trains one network, not {self.size}")
        # On a CPU torch pools channels that lie side by side many times as fast, and the
        # images decide how all feature maps lie.
        on_cpu = self.device.type == "cpu"
        self.channels_last = on_cpu and any(isinstance(m, nn.Conv2d) for m in self.module.modules())
        with torch.no_grad():
            for name, parameter in self.module.named_parameters():
                parameter.data = self.parameters[name][0]
        self.set_buffers(self.buffers)
        self.network = fused(self.module)

    def set_buffers(self, buffers: Parameters) -> None:
        """Has the network use those, ``{name: (1, *shape)}``."""
        for name, buffer in buffers.items():
            owner, _, leaf = name.rpartition(".")
            self.module.get_submodule(owner)._buffers[leaf] = buffer[0]

    def call(self, x: Tensor) -> Tensor:
        """The network's logits of ``(rows, *input_shape)``."""
        if self.channels_last and x.ndim == 4:
            x = x.to(memory_format=torch.channels_last)
        logits: Tensor = self.network(x)
        return logits

    def logits(self, x: Tensor) -> Tensor:
        self.network.eval()
        with torch.no_grad():
            return torch.cat([self.call(rows) for rows in torch.split(x, CACHED_ROWS)])[None]


class Loop(Execution):
    """A stack of one."""

    stack: LoopStack

    def __init__(self, stack: LoopStack, optimizer: StackedOptimizer) -> None:
        super().__init__(stack, optimizer)
        self.moved = {name: p for name, p in stack.module.named_parameters() if name in optimizer.parameters}
        self.torch_optimizer = _torch_optimizer(list(self.moved.values()), optimizer)

    def advance(self, x: Tensor, y: Tensor, rows: Tensor, *, keep: bool = False, watch: Sequence[Ties] = ()) -> Steps:  # noqa: ARG002
        steps = rows.shape[1]
        before, taken = None, []
        for i, batch in enumerate(rows[0].to(x.device)):
            if keep and i == steps - 1:
                before = {name: p.detach().clone() for name, p in self.moved.items()}
            taken.append(self._step(x[batch], y[batch]))
        self.optimizer.steps += steps
        updates = {n: (self.moved[n].detach() - p)[None] for n, p in before.items()} if before else None
        loss, hits = (torch.stack(numbers)[None].cpu() for numbers in zip(*taken, strict=True))
        return Steps(loss, hits, updates)

    def _step(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        self.stack.set_buffers(self.stack.masks.draw(x))
        self.stack.network.train()
        self.torch_optimizer.zero_grad(set_to_none=True)
        logits = self.stack.call(x)
        loss = nn.functional.cross_entropy(logits, y)
        loss.backward()  # type: ignore[no-untyped-call]
        self.torch_optimizer.step()
        with torch.no_grad():
            return loss.detach(), (logits.argmax(-1) == y).sum()

    def state(self) -> State:
        names = MOMENTS[self.optimizer.spec.name]
        for name, parameter in self.moved.items():
            kept = self.torch_optimizer.state.get(parameter, {})
            for key, moment in zip(names, self.optimizer.moments, strict=False):
                if kept.get(key) is not None:
                    moment[name][0] = kept[key]
        return super().state()

    def resume(self, state: State) -> None:
        super().resume(state)
        if not state.steps:
            return
        for name, parameter in self.moved.items():
            keys = zip(MOMENTS[self.optimizer.spec.name], self.optimizer.moments, strict=False)
            kept = {key: moment[name][0].clone() for key, moment in keys}
            if self.optimizer.spec.name != "sgd":
                kept["step"] = torch.tensor(float(state.steps))
            self.torch_optimizer.state[parameter] = kept


def _torch_optimizer(parameters: list[nn.Parameter], stacked: StackedOptimizer) -> torch.optim.Optimizer:
    spec: OptimizerSpec = stacked.spec
    lr, decay = float(stacked.rates.lr[0]), float(stacked.rates.decay[0])
    if spec.name == "sgd":
        return torch.optim.SGD(parameters, lr=lr, momentum=spec.momentum, weight_decay=decay)
    kind = torch.optim.Adam if spec.name == "adam" else torch.optim.AdamW
    return kind(parameters, lr=lr, betas=(spec.beta1, spec.beta2), eps=spec.eps, weight_decay=decay)
