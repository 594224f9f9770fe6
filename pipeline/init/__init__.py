"""Initialisers: weight and bias schemes, and how they are applied to one network.

To add a scheme, write its sampler in ``weights.py`` or ``biases.py`` under the
decorator, and add ``conf/weight_init/NAME.yaml`` or ``conf/bias_init/NAME.yaml``.
"""

from pipeline.init import biases, weights
from pipeline.init.apply import InitSpec, initial_parameters
from pipeline.init.registry import BIASES, WEIGHTS, BiasScheme, Fans, WeightScheme

__all__ = [
    "BIASES",
    "WEIGHTS",
    "BiasScheme",
    "Fans",
    "InitSpec",
    "WeightScheme",
    "biases",
    "initial_parameters",
    "weights",
]
