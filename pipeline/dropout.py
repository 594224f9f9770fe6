"""Dropout in a stack: every member draws its own masks, from its own stream.

``nn.Dropout`` draws from torch's global generator, so a member's masks would depend on
what shares its stack. Here they are drawn outside the network, before each step, by the
stream "dropout" of the member's seed, and reach it as buffers with a leading axis S.
Srivastava et al. 2014, sec. 4; kept values are scaled by 1 / (1 - p), as torch does.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.errors import UsageError
from pipeline.seeds import stream

__all__ = ["MaskedDropout", "Masks", "refuse_other_dropout", "with_masked_dropout"]


class MaskedDropout(nn.Module):
    """``nn.Dropout`` whose masks are buffers: one a call in a forward pass, ``mask0, mask1, ...``."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        self.calls += 1
        mask: Tensor = self.get_buffer(f"mask{self.calls - 1}")
        return x * mask


def refuse_other_dropout(module: nn.Module) -> None:
    """``UsageError`` for a dropout other than ``nn.Dropout``, which has no masks here."""
    for name, child in module.named_modules():
        if isinstance(child, nn.modules.dropout._DropoutNd) and type(child) is not nn.Dropout and child.p > 0:
            kind = type(child).__name__
            raise UsageError.of(f"model ({name}).p", child.p, f"{kind} can't be stacked; use 0, or nn.Dropout")


def with_masked_dropout(module: nn.Module) -> nn.Module:
    """``module`` with each ``nn.Dropout`` in it replaced, in place; the new modules have no parameters."""
    replaced: dict[int, nn.Module] = {}
    for name, child in list(module.named_modules(remove_duplicate=False)):
        if type(child) is nn.Dropout and name:
            new = replaced.setdefault(id(child), MaskedDropout(child.p) if child.p > 0 else nn.Identity())
            module.set_submodule(name, new)
    return module


class Masks:
    """Draws the masks of S members for one forward pass after another.

    Args:
        module: the network, after ``with_masked_dropout``.
        seeds: the members'; equal seeds have equal masks.
    """

    def __init__(self, module: nn.Module, seeds: Sequence[int]) -> None:
        self.module = module
        self.places = {name: m for name, m in module.named_modules() if isinstance(m, MaskedDropout)}
        self.slots = {seed: [i for i, s in enumerate(seeds) if s == seed] for seed in seeds}
        self.generators = {seed: stream(seed, "dropout") for seed in self.slots}
        self.size = len(seeds)
        self._shapes: dict[str, list[torch.Size]] = {}
        self._measured: torch.Size | None = None

    def states(self) -> dict[int, Tensor]:
        """Where each seed's stream is."""
        return {seed: generator.get_state() for seed, generator in self.generators.items()}

    def resume(self, states: Mapping[int, Tensor]) -> None:
        """Goes on from there."""
        for seed, generator in self.generators.items():
            generator.set_state(states[seed])

    def draw(self, x: Tensor) -> dict[str, Tensor]:
        """New masks for a batch ``x (rows, *input_shape)``, ``{buffer's name: (S, *shape)}``."""
        if not self.places:
            return {}
        if x.shape != self._measured:
            self._measure(x)
        for dropout in self.places.values():
            dropout.calls = 0
        return {
            f"{place}.mask{call}": self._mask(self.places[place].p, shape).to(x.dtype).to(x.device)
            for place, shapes in self._shapes.items()
            for call, shape in enumerate(shapes)
        }

    def _mask(self, p: float, shape: torch.Size) -> Tensor:
        mask = torch.empty(self.size, *shape, dtype=torch.float64)
        for seed, slots in self.slots.items():
            mask[slots] = (torch.rand(shape, generator=self.generators[seed]) >= p).to(torch.float64)
        return mask / (1 - p if p < 1 else 1)

    def _measure(self, x: Tensor) -> None:
        """Runs the network once to learn what goes through each dropout, and makes room for its masks."""
        self._shapes = {place: [] for place in self.places}
        handles = [m.register_forward_hook(self._hook(place)) for place, m in self.places.items()]
        self.module.eval()
        with torch.no_grad():
            self.module(x)
        for handle in handles:
            handle.remove()
        for place, shapes in self._shapes.items():
            for call in range(len(shapes)):
                self.places[place].register_buffer(f"mask{call}", torch.ones((), device=x.device), persistent=False)
        self._measured = x.shape

    def _hook(self, place: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def record(_: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            self._shapes[place].append(args[0].shape)

        return record
