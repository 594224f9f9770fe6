"""Kernels in C++ for stacks of MLPs and for what is looked at in them, compiled when they are first needed."""

from typing import TYPE_CHECKING

from pipeline.lazy import lazily
from pipeline.native.build import NoCompilerError, build_ahead, cache_folder, compiler, library, machine, stop_building

if TYPE_CHECKING:
    from pipeline.native.looks import (
        FIELDS,
        Found,
        Sought,
        look,
        look_at_rows,
        rows_equal,
        singular_values,
        sum_cosines,
        sums,
        sums_of_change,
    )
    from pipeline.native.mlp import KINDS, MLPKernel, Moments, Passed
    from pipeline.native.pooling import RectifiedPool
    from pipeline.native.ties import Ties

__all__ = [
    "FIELDS",
    "KINDS",
    "Found",
    "MLPKernel",
    "Moments",
    "NoCompilerError",
    "Passed",
    "RectifiedPool",
    "Sought",
    "Ties",
    "build_ahead",
    "cache_folder",
    "compiler",
    "library",
    "look",
    "look_at_rows",
    "machine",
    "rows_equal",
    "singular_values",
    "stop_building",
    "sum_cosines",
    "sums",
    "sums_of_change",
]

# The rest imports torch, while which the kernels can be compiled.
__getattr__ = lazily(
    __name__,
    {
        "FIELDS": "looks",
        "KINDS": "mlp",
        "Found": "looks",
        "MLPKernel": "mlp",
        "Moments": "mlp",
        "Passed": "mlp",
        "RectifiedPool": "pooling",
        "Sought": "looks",
        "Ties": "ties",
        "look": "looks",
        "look_at_rows": "looks",
        "rows_equal": "looks",
        "singular_values": "looks",
        "sum_cosines": "looks",
        "sums": "looks",
        "sums_of_change": "looks",
    },
)
