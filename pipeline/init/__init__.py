"""Initialisers: weight and bias schemes, and how they are applied to one network.

To add a scheme, write its sampler in ``weights.py``, ``structured.py`` or ``biases.py``
under the decorator, and add ``conf/weight_init/NAME.yaml`` or ``conf/bias_init/NAME.yaml``.
"""

from pipeline.init import biases, structured, weights
from pipeline.init.apply import InitSpec, initial_parameters, roles
from pipeline.init.fit import FitData
from pipeline.init.registry import BIASES, ROLES, WEIGHTS, BiasScheme, Fans, Role, Slot, WeightScheme

__all__ = [
    "BIASES",
    "ROLES",
    "WEIGHTS",
    "BiasScheme",
    "Fans",
    "FitData",
    "InitSpec",
    "Role",
    "Slot",
    "WeightScheme",
    "biases",
    "initial_parameters",
    "roles",
    "structured",
    "weights",
]
