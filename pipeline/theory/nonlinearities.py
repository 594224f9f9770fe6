"""Activations as the theory needs them: phi, phi', phi'' on numpy arrays."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import erf, expit

from pipeline.theory.expectations import Function

__all__ = ["NONLINEARITIES", "Nonlinearity"]


@dataclass(frozen=True)
class Nonlinearity:
    """An activation with its first two derivatives.

    Attributes:
        kinked: smooth except at 0; ``second`` then leaves out any point mass at 0, which
            contributes nothing to E[phi'' phi] as phi(0) = 0.
    """

    name: str
    value: Function
    slope: Function
    second: Function
    kinked: bool = False


def _tanh_slope(x: np.ndarray) -> np.ndarray:
    slope: np.ndarray = 1 - np.tanh(x) ** 2
    return slope


def _density(x: np.ndarray) -> np.ndarray:
    density: np.ndarray = np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return density


def _cumulative(x: np.ndarray) -> np.ndarray:
    share: np.ndarray = 0.5 * (1 + erf(x / math.sqrt(2)))
    return share


def _logistic_slope(x: np.ndarray) -> np.ndarray:
    slope: np.ndarray = expit(x) * expit(-x)
    return slope


NONLINEARITIES: dict[str, Nonlinearity] = {
    n.name: n
    for n in (
        Nonlinearity("tanh", np.tanh, _tanh_slope, lambda x: -2 * np.tanh(x) * _tanh_slope(x)),
        Nonlinearity(
            "erf",
            lambda x: erf(x),
            lambda x: 2 / math.sqrt(math.pi) * np.exp(-x * x),
            lambda x: -4 / math.sqrt(math.pi) * x * np.exp(-x * x),
        ),
        Nonlinearity(
            "sigmoid",
            lambda x: expit(x),
            _logistic_slope,
            lambda x: _logistic_slope(x) * (1 - 2 * expit(x)),
        ),
        Nonlinearity(
            "gelu",
            lambda x: x * _cumulative(x),
            lambda x: _cumulative(x) + x * _density(x),
            lambda x: (2 - x * x) * _density(x),
        ),
        Nonlinearity(
            "relu",
            lambda x: np.maximum(x, 0.0),
            lambda x: (x > 0).astype(float),
            lambda x: np.zeros_like(x),
            kinked=True,
        ),
        Nonlinearity(
            "softsign",
            lambda x: x / (1 + np.abs(x)),
            lambda x: (1 + np.abs(x)) ** -2.0,
            lambda x: -2 * np.sign(x) * (1 + np.abs(x)) ** -3.0,
            kinked=True,
        ),
    )
}
