"""Kernels in C++ for stacks of MLPs and for what is looked at in them, compiled when they are first needed."""

from pipeline.native.build import NoCompilerError, cache_folder, compiler, library, machine
from pipeline.native.looks import FIELDS, look, look_at_rows, singular_values, sum_cosines
from pipeline.native.mlp import KINDS, MLPKernel, Moments

__all__ = [
    "FIELDS",
    "KINDS",
    "MLPKernel",
    "Moments",
    "NoCompilerError",
    "cache_folder",
    "compiler",
    "library",
    "look",
    "look_at_rows",
    "machine",
    "singular_values",
    "sum_cosines",
]
