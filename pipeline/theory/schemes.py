"""What the published schemes do to variances, layer by layer.

With weights of mean 0 a layer multiplies the mean squared activation by n_in Var(w) on the
way forward, and the mean squared error signal by n_out Var(w) E[phi'(z)^2] on the way back
(Glorot & Bengio 2010, eq. 5 and 6; He et al. 2015, eq. 8 and 14). LeCun keeps the first
at 1, Glorot both as nearly as one number can, He makes up for ReLU's half; torch's default
U(+-1/sqrt(n)) has n Var(w) = 1/3.
"""

from collections.abc import Callable
from dataclasses import dataclass

from pipeline.theory.expectations import expect
from pipeline.theory.nonlinearities import NONLINEARITIES

__all__ = ["SCHEME_VARIANCES", "LayerVariance", "scheme_sigma_w2", "variance_profile"]


def _constant(value: float) -> Callable[[int, int], float]:
    return lambda *_: value


def _glorot(n_in: int, n_out: int) -> float:
    return 2 * n_in / (n_in + n_out)


def _orthogonal(n_in: int, n_out: int) -> float:
    return n_in / max(n_in, n_out)


# n_in Var(w) for the fans (n_in, n_out) of a linear layer, of schemes whose weights are independent with mean 0
# or, like the orthogonal ones', act as if they were.
SCHEME_VARIANCES: dict[str, Callable[[int, int], float]] = {
    "lecun_normal": _constant(1.0),
    "lecun_uniform": _constant(1.0),
    "glorot_normal": _glorot,
    "glorot_uniform": _glorot,
    "he_normal": _constant(2.0),
    "he_uniform": _constant(2.0),
    "pytorch": _constant(1 / 3),
    "orthogonal": _orthogonal,
    "delta_orthogonal": _orthogonal,
}


@dataclass(frozen=True)
class LayerVariance:
    """One layer of the variance map.

    Attributes:
        layer: from 1.
        q: mean squared pre-activation.
        backward: by what the layer multiplies the mean squared error signal.
    """

    layer: int
    q: float
    backward: float


def scheme_sigma_w2(scheme: str, n_in: int, n_out: int, scale: float = 1.0) -> float:
    """n_in Var(w) of a scheme; KeyError for one that has no such number."""
    return scale**2 * SCHEME_VARIANCES[scheme](n_in, n_out)


def variance_profile(
    activation: str, sigma_w2: float, sigma_b2: float, depth: int, q_0: float = 1.0
) -> list[LayerVariance]:
    """The variances of ``depth`` square layers on inputs of mean square ``q_0``.

    Args:
        activation: a name in ``NONLINEARITIES``.
        sigma_w2: n Var(w). sigma_b2: variance of the biases.
    """
    phi = NONLINEARITIES[activation]
    profile, squared = [], q_0
    for layer in range(1, depth + 1):
        q = sigma_w2 * squared + sigma_b2
        # ReLU's slopes are the same at any variance, and undefined at 0.
        seen = 1.0 if activation == "relu" and q == 0 else q
        backward = sigma_w2 * expect(lambda u: phi.slope(u) ** 2, seen, phi.kinked)
        profile.append(LayerVariance(layer, q, backward))
        squared = expect(lambda u: phi.value(u) ** 2, q, phi.kinked)
    return profile
