"""The kernels of ``mlp.cpp`` on torch tensors: a stack of MLPs in float32, on the CPU.

Calls release the interpreter's lock, so that threads train side by side. What a call gets
must be contiguous; it is checked here, as C++ can't.
"""

import ctypes
from collections.abc import Sequence
from ctypes import c_float, c_int32, c_int64, c_void_p
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.native.build import library
from pipeline.native.looks import Found, Sought, looks_of
from pipeline.native.tensors import address, addresses, check, enough_memory
from pipeline.native.ties import Ties, as_argument

__all__ = ["KINDS", "MLPKernel", "Moments"]

KINDS = ("tanh", "sigmoid", "relu", "gelu", "softsign")
"""The activations, in the order in which ``phi`` in ``kernels.hpp`` numbers them."""

OPTIMIZERS = ("sgd", "adam", "adamw")


class _Net(ctypes.Structure):
    _fields_ = (
        ("layers", c_int32),
        ("sizes", c_void_p),
        ("activations", c_void_p),
        ("w", c_void_p),
        ("b", c_void_p),
    )


class _Optimizer(ctypes.Structure):
    _fields_ = (
        ("kind", c_int32),
        ("momentum", c_float),
        ("beta1", c_float),
        ("beta2", c_float),
        ("eps", c_float),
        ("lr", c_void_p),
        ("decay", c_void_p),
        ("steps", c_void_p),
        ("state", c_void_p),
    )


class _Batches(ctypes.Structure):
    _fields_ = (
        ("x", c_void_p),
        ("y", c_void_p),
        ("rows", c_void_p),
        ("row_stride", c_int64),
        ("steps", c_int32),
        ("size", c_int32),
    )


@dataclass(frozen=True)
class Moments:
    """An optimiser over a stack.

    Attributes:
        name: ``sgd``, ``adam`` or ``adamw``.
        lr, decay: ``(S,)`` float32.
        steps: ``(S,)`` int64, taken before.
        state: the moments, like the weights and biases of each layer in turn (w0 b0 w1 b1 ...):
            none for plain SGD, first ones for momentum, first and then second ones for Adam.
            A layer without bias has None in its place.
    """

    name: str
    momentum: float
    beta1: float
    beta2: float
    eps: float
    lr: Tensor
    decay: Tensor
    steps: Tensor
    state: Sequence[Tensor | None] = ()


@dataclass(frozen=True)
class Passed:
    """What a forward and backward pass on samples shared by all members gave.

    Attributes:
        weights, biases: gradients, like those.
        signals: ``(z, a)`` of each hidden layer, ``(S, samples, units)``, where they were wanted.
        found: what was looked for in each hidden layer.
        finite: ``(S,)``, whether a member's weights, gradients and pre-activations are.
    """

    weights: list[Tensor]
    biases: list[Tensor | None]
    signals: list[tuple[Tensor, Tensor]]
    found: list[Found]
    finite: Tensor


class MLPKernel:
    """S MLPs of one shape.

    Args:
        weights: of each layer ``(S, units, inputs)``, float32; trained in place.
        biases: ``(S, units)`` each, or None.
        activations: of each hidden layer, by name.

    Raises:
        NoCompilerError: the kernels can't be compiled here.
    """

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor | None], activations: Sequence[str]) -> None:
        self.library = library()
        self.weights, self.biases = list(weights), list(biases)
        for tensor in (*weights, *biases):
            check(tensor, torch.float32)
        self.count = len(weights[0])
        self.sizes = [weights[0].shape[2], *(w.shape[1] for w in weights)]
        # Kept, as the structure holds their addresses.
        self._sizes = (c_int32 * len(self.sizes))(*self.sizes)
        self._kinds = (c_int32 * len(self.sizes))(*[KINDS.index(name) for name in activations])
        self._w, self._b = addresses(self.weights), addresses(self.biases)
        held = (self._sizes, self._kinds, self._w, self._b)
        self._net = _Net(len(weights), *[ctypes.addressof(array) for array in held])

    def train(
        self, x: Tensor, y: Tensor, rows: Tensor, moments: Moments, keep: bool, ties: Sequence[Ties] = ()
    ) -> tuple[Tensor, Tensor, list[Tensor | None]]:
        """Takes a step for each batch in ``rows``.

        Args:
            x: ``(samples, inputs)`` float32. y: ``(samples,)`` int64.
            rows: ``(S, steps, batch)`` int64, each member's own.
            keep: whether the last step's updates are wanted.
            ties: to be watched; what was seen of them is written there.

        Returns:
            Losses ``(S, steps)`` float32 (mean over the batch, in nats), hits ``(S, steps)``
            int32, and the updates (w0 b0 w1 b1 ...), none where they aren't wanted.
        """
        check(x, torch.float32)
        check(y, torch.int64)
        check(rows, torch.int64)
        steps, size = rows.shape[1:]
        for tensor, dtype in (
            (moments.lr, torch.float32),
            (moments.decay, torch.float32),
            (moments.steps, torch.int64),
        ):
            check(tensor, dtype)
        for moment in moments.state:
            check(moment, torch.float32)
        state = addresses(moments.state)
        optimizer = _Optimizer(
            OPTIMIZERS.index(moments.name),
            *(moments.momentum, moments.beta1, moments.beta2, moments.eps),
            *(moments.lr.data_ptr(), moments.decay.data_ptr(), moments.steps.data_ptr()),
            ctypes.addressof(state),
        )
        batches = _Batches(x.data_ptr(), y.data_ptr(), rows.data_ptr(), steps * size, steps, size)
        loss = torch.empty(self.count, steps)
        hits = torch.empty(self.count, steps, dtype=torch.int32)
        uw, ub = self._like(keep)
        changes = (addresses(uw), addresses(ub)) if keep else (None, None)
        failed = self.library.train(
            *map(ctypes.byref, (self._net, optimizer, batches)),
            *(c_int64(0), c_int64(self.count), c_void_p(loss.data_ptr()), c_void_p(hits.data_ptr()), *changes),
            *(as_argument(ties), c_int64(len(ties))),
        )
        enough_memory(failed)
        return loss, hits, [t for pair in zip(uw, ub, strict=True) for t in pair]

    def evaluate(self, x: Tensor, y: Tensor, size: int = 64) -> tuple[Tensor, Tensor]:
        """Mean loss (nats) and accuracy (0..1) on all samples, float64 ``(S,)``.

        A sample with a logit that isn't finite is no hit.
        """
        check(x, torch.float32)
        check(y, torch.int64)
        loss = torch.empty(self.count, dtype=torch.float64)
        hits = torch.empty(self.count, dtype=torch.int64)
        batches = _Batches(x.data_ptr(), y.data_ptr(), None, 0, 0, size)
        failed = self.library.evaluate(
            *map(ctypes.byref, (self._net, batches)),
            *(c_int64(len(x)), c_int64(0), c_int64(self.count), c_void_p(loss.data_ptr()), c_void_p(hits.data_ptr())),
        )
        enough_memory(failed)
        return loss / len(x), hits.to(torch.float64) / len(x)

    def gradients(
        self,
        x: Tensor,
        y: Tensor,
        sought: Sequence[Sought] = (),
        slope: Tensor | None = None,
        signals: bool = True,
    ) -> Passed:
        """Of the mean loss over the samples, by weights and biases; and what each hidden layer does.

        Args:
            sought: what to look for in each hidden layer; nothing in any by default.
            slope: ``(samples, classes)``, taken for the loss's gradient by the logits.
            signals: whether they are wanted.
        """
        check(x, torch.float32)
        check(y, torch.int64)
        check(slope, torch.float32)
        gw, gb = self._like(True)
        hidden = self.sizes[1:-1]
        z = [torch.empty(self.count, len(x), units) for units in (hidden if signals else ())]
        a = [torch.empty_like(signal) for signal in z]
        finite = torch.empty(self.count, dtype=torch.bool)
        looks, found = looks_of(sought, self.count, hidden if sought else ())
        batches = _Batches(x.data_ptr(), y.data_ptr(), None, 0, 1, len(x))
        failed = self.library.gradients(
            *map(ctypes.byref, (self._net, batches)),
            *(c_int64(self.count), None if slope is None else address(slope)),
            *(addresses(gw), addresses(gb)),
            *((addresses(z), addresses(a)) if signals else (None, None)),
            *(looks if sought else None, address(finite)),
        )
        enough_memory(failed)
        return Passed(gw, gb, list(zip(z, a, strict=True)), found, finite)

    def _like(self, wanted: bool) -> tuple[list[Tensor], list[Tensor | None]]:
        """Room for something like the weights and the biases."""
        if not wanted:
            return [], []
        return [torch.empty_like(w) for w in self.weights], [
            None if b is None else torch.empty_like(b) for b in self.biases
        ]
