"""Pairs of tied neurons, for the kernels to watch while they train."""

import ctypes
from collections.abc import Sequence
from ctypes import c_void_p
from dataclasses import dataclass

import numpy as np

__all__ = ["Ties", "TiesArgument", "as_argument"]


class TiesArgument(ctypes.Structure):
    """``Ties`` of ``ties.hpp``."""

    _fields_ = (("starts", c_void_p), ("pairs", c_void_p), ("parted", c_void_p), ("gone", c_void_p))


@dataclass(frozen=True)
class Ties:
    """Pairs that are tied before some steps of a stack of S members, and what was seen of them in these.

    Attributes:
        starts: ``(S + 1,)`` int64, where each member's pairs begin.
        pairs: ``(count, 3)`` int64: hidden layer, neuron, its twin.
        parted: ``(S,)`` int64: the first of the steps, from 1, after which two of a pair differed; 0: none.
        gone: likewise, after which no two neurons of the member were tied any more; only looked for ``to_the_last``.
    """

    starts: np.ndarray
    pairs: np.ndarray
    parted: np.ndarray
    gone: np.ndarray
    to_the_last: bool

    @classmethod
    def of(cls, pairs: np.ndarray, members: int, to_the_last: bool) -> "Ties":
        """From ``(count, 4)`` pairs, each with its member first."""
        ordered = pairs[np.argsort(pairs[:, 0], kind="stable")]
        starts = np.searchsorted(ordered[:, 0], np.arange(members + 1))
        own = np.ascontiguousarray(ordered[:, 1:], dtype=np.int64)
        parted, gone = np.zeros((2, members), dtype=np.int64)
        return cls(starts.astype(np.int64), own, parted, gone, to_the_last)


def as_argument(ties: Sequence[Ties]) -> "ctypes.Array[TiesArgument]":
    """For C++; ``ties`` must be kept as long as it is used."""
    rows = [
        TiesArgument(
            *(own.starts.ctypes.data, own.pairs.ctypes.data, own.parted.ctypes.data),
            own.gone.ctypes.data if own.to_the_last else None,
        )
        for own in ties
    ]
    return (TiesArgument * len(rows))(*rows)
