"""Weight schemes at scale 1, in float64. ``weight_init.scale`` multiplies what they return.

Shapes are ``(out, in, *kernel)``; n_in and n_out are the fans.
"""

import math

import torch
from torch import Generator, Tensor

from pipeline.init.registry import Fans, weight_scheme

__all__: list[str] = []

Shape = tuple[int, ...]


def _normal(shape: Shape, std: float, generator: Generator) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator) * std


def _uniform(shape: Shape, bound: float, generator: Generator) -> Tensor:
    return (2 * torch.rand(shape, dtype=torch.float64, generator=generator) - 1) * bound


@weight_scheme("zeros", "Every weight 0.", scaled=False)
def zeros(shape: Shape, generator: Generator) -> Tensor:
    return torch.zeros(shape, dtype=torch.float64)


@weight_scheme("constant", "Every weight 1, so that the scale is the constant.")
def constant(shape: Shape, generator: Generator) -> Tensor:
    return torch.ones(shape, dtype=torch.float64)


@weight_scheme("uniform", "U(-1, 1), so that the scale is the bound.")
def uniform(shape: Shape, generator: Generator) -> Tensor:
    return _uniform(shape, 1.0, generator)


@weight_scheme("normal", "N(0, 1), so that the scale is the standard deviation.")
def normal(shape: Shape, generator: Generator) -> Tensor:
    return _normal(shape, 1.0, generator)


@weight_scheme("lecun_normal", "N(0, 1/n_in): LeCun et al. 1998, Efficient BackProp, eq. 16.")
def lecun_normal(shape: Shape, generator: Generator) -> Tensor:
    return _normal(shape, math.sqrt(1 / Fans.of(shape).fan_in), generator)


@weight_scheme("glorot_normal", "N(0, 2/(n_in + n_out)): Glorot & Bengio 2010, eq. 12.")
def glorot_normal(shape: Shape, generator: Generator) -> Tensor:
    fans = Fans.of(shape)
    return _normal(shape, math.sqrt(2 / (fans.fan_in + fans.fan_out)), generator)


@weight_scheme("glorot_uniform", "U(+-sqrt(6/(n_in + n_out))): Glorot & Bengio 2010, eq. 16.")
def glorot_uniform(shape: Shape, generator: Generator) -> Tensor:
    fans = Fans.of(shape)
    return _uniform(shape, math.sqrt(6 / (fans.fan_in + fans.fan_out)), generator)


@weight_scheme("he_normal", "N(0, 2/n_in): He et al. 2015, eq. 10.")
def he_normal(shape: Shape, generator: Generator) -> Tensor:
    return _normal(shape, math.sqrt(2 / Fans.of(shape).fan_in), generator)


@weight_scheme("he_uniform", "U(+-sqrt(6/n_in)), of the variance of He et al. 2015, eq. 10.")
def he_uniform(shape: Shape, generator: Generator) -> Tensor:
    return _uniform(shape, math.sqrt(6 / Fans.of(shape).fan_in), generator)


@weight_scheme("orthogonal", "Orthonormal rows or columns, Haar distributed: Saxe et al. 2014, sec. 3.")
def orthogonal(shape: Shape, generator: Generator) -> Tensor:
    rows, columns = shape[0], math.prod(shape[1:])
    gaussian = torch.randn(max(rows, columns), min(rows, columns), dtype=torch.float64, generator=generator)
    q, r = torch.linalg.qr(gaussian)
    # QR alone is not Haar distributed; the signs of R's diagonal make it so (Mezzadri 2007, eq. 5.3).
    q = q * torch.where(r.diagonal() < 0, -1.0, 1.0)
    wide: Tensor = q if rows >= columns else q.T
    return wide.reshape(shape).contiguous()


@weight_scheme("pytorch", "U(+-1/sqrt(n_in)): torch.nn.Linear's default, of variance 1/(3 n_in).")
def pytorch(shape: Shape, generator: Generator) -> Tensor:
    return _uniform(shape, math.sqrt(1 / Fans.of(shape).fan_in), generator)
