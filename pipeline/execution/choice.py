"""Which modes can train a network at all, and why not."""

import importlib.util

import torch
from torch import nn

from pipeline.layers import trace_layers
from pipeline.native import KINDS, NoCompilerError, compiler, library
from pipeline.stack import slot_independent
from pipeline.symmetry import is_chain

__all__ = ["obstacle"]


def obstacle(mode: str, module: nn.Module, sample: torch.Tensor, dtype: str, device: str) -> str | None:
    """Why a mode can't train ``module``; None if it can.

    Args:
        sample: two rows of the data, ``(2, *input_shape)``, on the device.

    Raises:
        NoCompilerError: it could but for a C++ compiler.
    """
    if mode == "native":
        return _native(module, sample, dtype, device)
    if mode == "compiled":
        if compiler() is None:
            raise NoCompilerError("no C++ compiler found (set CXX, or install g++)")
        if device != "cpu":
            if importlib.util.find_spec("triton") is None:
                raise NoCompilerError("torch compiles for GPUs by triton, which isn't installed")
            return None
        return None if slot_independent(module) else "its layers can't share a stack without changing each other's bits"
    return None


def _native(module: nn.Module, sample: torch.Tensor, dtype: str, device: str) -> str | None:
    if dtype != "float32" or device != "cpu":
        return f"it computes in float32 on the CPU, not in {dtype} on {device}"
    if any(isinstance(m, nn.Dropout) and m.p > 0 for m in module.modules()):
        return "it has no dropout"
    layers = trace_layers(module, sample.to(next(module.parameters()).dtype))
    if not is_chain(module, layers, sample):
        return "it trains MLPs only: linear layers with an activation after each but the last"
    if any(layer.activation.name not in KINDS for layer in layers if layer.activation):
        return f"it knows the activations {', '.join(KINDS)} only"
    library()
    return None
