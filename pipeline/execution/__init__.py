"""How the steps of a training are computed: one contract, four modes, and the choice between them."""

from pipeline.execution.choice import obstacle
from pipeline.execution.loop import Loop, LoopStack
from pipeline.execution.native import Native, NativeStack
from pipeline.execution.stacked import Compiled, Stacked
from pipeline.execution.steps import MODES, Execution, State, Steps

__all__ = [
    "MODES",
    "Compiled",
    "Execution",
    "Loop",
    "LoopStack",
    "Native",
    "NativeStack",
    "Stacked",
    "State",
    "Steps",
    "obstacle",
]
