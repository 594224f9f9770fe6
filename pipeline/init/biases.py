"""Bias schemes, in float64. ``value`` is the constant, or the spread of a random one."""

import math

import torch
from torch import Tensor

from pipeline.init.draws import normal, uniform
from pipeline.init.registry import Slot, bias_scheme
from pipeline.init.weights import randomised_asymmetric

__all__: list[str] = []


@bias_scheme("zeros", "Every bias 0.", valued=False)
def _zeros(slot: Slot, value: float) -> Tensor:
    return torch.zeros(slot.units, dtype=torch.float64)


@bias_scheme("constant", "Every bias equal to the value.")
def _constant(slot: Slot, value: float) -> Tensor:
    return torch.full((slot.units,), value, dtype=torch.float64)


@bias_scheme("uniform", "U(-|value|, |value|).")
def _uniform(slot: Slot, value: float) -> Tensor:
    return uniform((slot.units,), abs(value), slot.generator)


@bias_scheme("normal", "N(0, value^2).")
def _normal(slot: Slot, value: float) -> Tensor:
    return normal((slot.units,), abs(value), slot.generator)


@bias_scheme("pytorch", "U(+-1/sqrt(n_in)): torch's default.", valued=False)
def _pytorch(slot: Slot, value: float) -> Tensor:
    return uniform((slot.units,), math.sqrt(1 / slot.fans.fan_in), slot.generator)


@bias_scheme(
    "data_centred",
    "Minus the mean of W x over the training data, layer by layer, so that every mean pre-activation is 0.",
    valued=False,
    fitted=True,
)
def _data_centred(slot: Slot, value: float) -> Tensor:
    return torch.zeros(slot.units, dtype=torch.float64)


@bias_scheme(
    "log_prior",
    "In the last layer the log share of each class in the training data, 0 elsewhere: Karpathy 2019.",
    valued=False,
    fitted=True,
)
def _log_prior(slot: Slot, value: float) -> Tensor:
    return torch.zeros(slot.units, dtype=torch.float64)


@bias_scheme(
    "rai",
    "The bias column of the randomised asymmetric init, drawn jointly with weight_init=rai: Lu et al. 2019, sec. 4.",
    valued=False,
)
def _rai(slot: Slot, value: float) -> Tensor:
    return randomised_asymmetric(slot)[:, -1].clone()
