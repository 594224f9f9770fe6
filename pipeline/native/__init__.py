"""Kernels in C++ for stacks of MLPs and for what is looked at in them, compiled when they are first needed."""

from pipeline.native.build import NoCompilerError, cache_folder, compiler, library, machine
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

__all__ = [
    "FIELDS",
    "KINDS",
    "Found",
    "MLPKernel",
    "Moments",
    "NoCompilerError",
    "Passed",
    "Sought",
    "cache_folder",
    "compiler",
    "library",
    "look",
    "look_at_rows",
    "machine",
    "rows_equal",
    "singular_values",
    "sum_cosines",
    "sums",
    "sums_of_change",
]
