"""Which members of a stack have no two equal rows, seen at once for all of them."""

from functools import lru_cache

import torch
from torch import Tensor

__all__ = ["surely_distinct"]

INTEGERS = {torch.float32: torch.int32, torch.float64: torch.int64}


def surely_distinct(rows: Tensor) -> Tensor:
    """Whether no row ``(S, n, d)`` of a member equals another one or its negative, nor is zero: ``(S,)``.

    True is certain, to the last bit; False may be wrong, once in 2^50 members or so. Each
    row has a key, the bits of its entries without their signs, times fixed random numbers,
    summed modulo 2^64. Equal rows have equal keys, so different keys mean different rows.
    """
    bits = rows.detach().abs().view(INTEGERS[rows.dtype]).to(torch.int64)
    keys = (bits * _factors(rows.shape[2]).to(rows.device)).sum(-1)
    different = (keys.sort(-1).values.diff(dim=1) != 0).all(1)
    return different & (keys != 0).all(1)


@lru_cache(maxsize=64)
def _factors(count: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randint(-(2**62), 2**62, (count,), generator=generator) + 1
