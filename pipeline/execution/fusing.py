"""A network for the steps of a training: the same numbers, with fewer passes over feature maps."""

import copy
from itertools import pairwise

from torch import nn

from pipeline.native import NoCompilerError, RectifiedPool, library

__all__ = ["fused"]


def fused(module: nn.Module) -> nn.Module:
    """``module`` with each ReLU and the 2 x 2 max pooling after it made one, where an ``nn.Sequential`` has them so.

    It shares all parameters and buffers with ``module``, which stays as it is: what probes look
    at are its parts. ``module`` itself, if it has nothing of the kind or there is no compiler.
    """
    if not _concerned(module):
        return module
    try:
        library()
    except NoCompilerError:
        return module
    return _twin(module, {})


def _concerned(module: nn.Module) -> bool:
    return any(_fusible(*pair) for child in module.modules() for pair in _pairs(child))


def _pairs(module: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """Modules of which the second gets what the first returns, and nobody else does, where ``module`` is called."""
    return list(pairwise(module)) if type(module) is nn.Sequential else []


def _fusible(first: nn.Module, second: nn.Module) -> bool:
    if type(first) is not nn.ReLU or type(second) is not nn.MaxPool2d or _hooked(first) or _hooked(second):
        return False
    given = (second.kernel_size, second.stride, second.padding, second.dilation)
    plain = [number if isinstance(number, tuple) else (number, number) for number in given]
    return plain == [(2, 2), (2, 2), (0, 0), (1, 1)] and not second.ceil_mode and not second.return_indices


def _hooked(module: nn.Module) -> bool:
    return bool(
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )


def _twin(module: nn.Module, known: dict[nn.Module, nn.Module]) -> nn.Module:
    """A copy with the same dictionaries of parameters, buffers and hooks, and twins of the children; or itself.

    Only what has to do with a fused ``nn.Sequential`` is copied: a module may keep more than those dictionaries, as
    dropout does. And only calling it is another thing: who calls its children one by one gets what each returns.
    """
    if module in known or not _concerned(module):
        return known.get(module, module)
    twin = known[module] = copy.copy(module)
    twin._modules = {name: child and _twin(child, known) for name, child in module._modules.items()}
    pairs = _pairs(module)
    if any(_fusible(*pair) for pair in pairs):
        parts = [child for child in twin._modules.values() if child is not None]
        for i, pair in enumerate(pairs):
            if _fusible(*pair):
                parts[i : i + 2] = [nn.Identity(), RectifiedPool()]
        twin.forward = nn.Sequential(*parts).forward
    return twin
