"""Which hidden neurons of an MLP must stay copies for ever, and what training can still move."""

from pipeline.symmetry.chain import chain_prediction, chain_symmetry, chain_weights, is_chain, stack_symmetry
from pipeline.symmetry.classes import LayerWeights, Symmetry, find_symmetry
from pipeline.symmetry.motion import constant_units, quotient, reached
from pipeline.symmetry.predict import Prediction, predict
from pipeline.symmetry.projection import Projection

__all__ = [
    "LayerWeights",
    "Prediction",
    "Projection",
    "Symmetry",
    "chain_prediction",
    "chain_symmetry",
    "chain_weights",
    "constant_units",
    "find_symmetry",
    "is_chain",
    "predict",
    "quotient",
    "reached",
    "stack_symmetry",
]
