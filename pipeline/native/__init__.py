"""Kernels in C++ for stacks of MLPs, compiled for this machine when they are first needed."""

from pipeline.native.build import NoCompilerError, cache_folder, compiler, library, machine
from pipeline.native.mlp import KINDS, MLPKernel, Moments

__all__ = ["KINDS", "MLPKernel", "Moments", "NoCompilerError", "cache_folder", "compiler", "library", "machine"]
