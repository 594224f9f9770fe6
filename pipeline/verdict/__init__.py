"""The verdict: what can be said of an init before it trains.

``signs`` looks at a stack at its start, ``growth`` says how long the signal needs to grow,
``judge`` makes a score and a sentence of both, of the symmetry and of the theory.
"""

from pipeline.verdict.judge import HOPELESS, Budget, judge, typical
from pipeline.verdict.signs import Signs, read_signs

__all__ = ["HOPELESS", "Budget", "Signs", "judge", "read_signs", "typical"]
