"""Random weight schemes at scale 1, in float64. ``weight_init.scale`` multiplies what they return.

Shapes are ``(out, in, *kernel)``; n_in and n_out are the fans.
"""

import math

import torch
from torch import Tensor

from pipeline.init.draws import normal, uniform
from pipeline.init.registry import Slot, weight_scheme

__all__ = ["orthogonal"]


@weight_scheme("uniform", "U(-1, 1), so that the scale is the bound.")
def _uniform(slot: Slot) -> Tensor:
    return uniform(slot.shape, 1.0, slot.generator)


@weight_scheme("normal", "N(0, 1), so that the scale is the standard deviation.")
def _normal(slot: Slot) -> Tensor:
    return normal(slot.shape, 1.0, slot.generator)


@weight_scheme("truncated_normal", "N(0, 1) cut to [-2, 2], of standard deviation 0.8796.")
def _truncated_normal(slot: Slot) -> Tensor:
    # By the inverse of the distribution function, so that a draw costs one uniform number.
    low = 0.5 * (1 + math.erf(-2 / math.sqrt(2)))
    share = torch.rand(slot.shape, dtype=torch.float64, generator=slot.generator)
    weight: Tensor = torch.special.ndtri(low + (1 - 2 * low) * share)
    return weight


@weight_scheme("lecun_normal", "N(0, 1/n_in): LeCun et al. 1998, Efficient BackProp, eq. 16.")
def _lecun_normal(slot: Slot) -> Tensor:
    return normal(slot.shape, math.sqrt(1 / slot.fans.fan_in), slot.generator)


@weight_scheme("lecun_uniform", "U(+-sqrt(3/n_in)), of the variance of LeCun et al. 1998, eq. 16.")
def _lecun_uniform(slot: Slot) -> Tensor:
    return uniform(slot.shape, math.sqrt(3 / slot.fans.fan_in), slot.generator)


@weight_scheme("glorot_normal", "N(0, 2/(n_in + n_out)): Glorot & Bengio 2010, eq. 12.")
def _glorot_normal(slot: Slot) -> Tensor:
    return normal(slot.shape, math.sqrt(2 / (slot.fans.fan_in + slot.fans.fan_out)), slot.generator)


@weight_scheme("glorot_uniform", "U(+-sqrt(6/(n_in + n_out))): Glorot & Bengio 2010, eq. 16.")
def _glorot_uniform(slot: Slot) -> Tensor:
    return uniform(slot.shape, math.sqrt(6 / (slot.fans.fan_in + slot.fans.fan_out)), slot.generator)


@weight_scheme("he_normal", "N(0, 2/n_in): He et al. 2015, eq. 10.")
def _he_normal(slot: Slot) -> Tensor:
    return normal(slot.shape, math.sqrt(2 / slot.fans.fan_in), slot.generator)


@weight_scheme("he_uniform", "U(+-sqrt(6/n_in)), of the variance of He et al. 2015, eq. 10.")
def _he_uniform(slot: Slot) -> Tensor:
    return uniform(slot.shape, math.sqrt(6 / slot.fans.fan_in), slot.generator)


@weight_scheme(
    "pytorch", "U(+-1/sqrt(n_in)): torch's default for linear layers and convolutions, of variance 1/(3 n_in)."
)
def _pytorch(slot: Slot) -> Tensor:
    return uniform(slot.shape, math.sqrt(1 / slot.fans.fan_in), slot.generator)


@weight_scheme(
    "orthogonal",
    "Orthonormal rows or columns of the (out, n_in) matrix, Haar distributed, the scale as gain: Saxe et al. 2014, "
    "sec. 3.",
)
def orthogonal(slot: Slot) -> Tensor:
    rows, columns = slot.shape[0], math.prod(slot.shape[1:])
    gaussian = normal((max(rows, columns), min(rows, columns)), 1.0, slot.generator)
    q, r = torch.linalg.qr(gaussian)
    # QR alone is not Haar distributed; the signs of R's diagonal make it so (Mezzadri 2007, eq. 5.3).
    q = q * torch.where(r.diagonal() < 0, -1.0, 1.0)
    wide: Tensor = q if rows >= columns else q.T
    return wide.reshape(slot.shape).contiguous()


@weight_scheme(
    "lsuv",
    "Orthogonal, then each layer divided by the standard deviation of W x on training data: "
    "Mishkin & Matas 2016, alg. 1. Biases are left as they are and don't count in that deviation.",
    fitted=True,
)
def _lsuv(slot: Slot) -> Tensor:
    return orthogonal(slot)


@weight_scheme(
    "mup",
    "N(0, 1/n_in), in the last layer N(0, 1/n_in^2): Yang et al. 2022, table 3 (learning rates are not touched).",
)
def _mup(slot: Slot) -> Tensor:
    fan_in = slot.fans.fan_in
    return normal(slot.shape, 1 / fan_in if slot.role == "last" else math.sqrt(1 / fan_in), slot.generator)


@weight_scheme(
    "sparse", "15 weights a unit, of a channel's whole filter, from N(0, 1), the others 0: Martens 2010, sec. 5."
)
def _sparse(slot: Slot) -> Tensor:
    rows, columns = slot.shape[0], math.prod(slot.shape[1:])
    generator = slot.generator
    kept = min(15, columns)
    order = torch.rand((rows, columns), dtype=torch.float64, generator=generator).argsort(1)[:, :kept]
    values = normal((rows, kept), 1.0, generator)
    weight = torch.zeros(rows, columns, dtype=torch.float64)
    return weight.scatter_(1, order, values).reshape(slot.shape)


@weight_scheme(
    "rai",
    "N(0, 0.6007^2/n_in) with one entry of each [row, bias] from Beta(2, 1): Lu et al. 2019, sec. 4. "
    "Give bias_init=rai as well.",
)
def _rai(slot: Slot) -> Tensor:
    return randomised_asymmetric(slot)[:, :-1].reshape(slot.shape).contiguous()


def randomised_asymmetric(slot: Slot) -> Tensor:
    """``(units, fan_in + 1)``: weights and bias of a layer under Lu et al. 2019, drawn jointly."""
    rows, columns = slot.shape[0], math.prod(slot.shape[1:]) + 1
    generator = slot.layer_generator
    joint = normal((rows, columns), 0.6007 / math.sqrt(slot.fans.fan_in), generator)
    place = torch.randint(columns, (rows, 1), generator=generator)
    # The square root of a uniform number has the distribution Beta(2, 1).
    beta = torch.rand((rows, 1), dtype=torch.float64, generator=generator).sqrt()
    return joint.scatter_(1, place, beta)
