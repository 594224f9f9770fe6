"""How many steps a network needs before its output can follow the labels.

A network with small weights starts on a plateau: the gradient of each layer is
proportional to the product of all the others. In a deep linear network whose layers act
along one direction with strengths w_1 .. w_L, gradient descent follows, as long as the
product of all is small,

    dw_l / dt = eta S prod_{k != l} w_k,

S the covariance of inputs and labels (the small-weight limit of the dynamics in Saxe et
al. 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear neural
networks"). A nonlinearity enters by its mean slope s_l, a convolution by the matrix of its
filters. The network has left the plateau when S prod w_l s_l reaches 1. Where the weights are
large this model means little, but then the first-order change of the loss, eta sum_l
||grad_l||^2 a step, says how soon something happens: the sooner of the two counts.
"""

import math

import numpy as np

from pipeline.verdict.signs import Signs

__all__ = ["NEVER", "escape_steps", "first_change"]

NEVER = 1e12
# Minibatches differ, so that no weight stays at exactly 0 once anything reaches it.
SEED_STRENGTH = 1e-3
SHARE = 0.03  # of the smallest strength that one step of the integration may add
TINY = 1e-300


def escape_steps(signs: Signs, rate: float) -> float:
    """Steps until the output can follow the labels, at most ``NEVER``.

    Args:
        rate: effective learning rate: a constant gradient g moves a weight by ``rate * g`` a step.
    """
    if signs.reached == 0:
        return NEVER
    first_order = max(1.0, 1 / max(first_change(signs, rate), 1 / NEVER))
    return min(first_order, _plateau(signs, rate) if signs.sequential else NEVER)


def first_change(signs: Signs, rate: float) -> float:
    """By how much a step lowers the label loss, to first order: ``rate * sum_l ||grad_l||^2``."""
    return rate * sum(g * g for g in signs.label_gradients)


def _plateau(signs: Signs, rate: float) -> float:
    parts = (signs.label_signal, *signs.slopes)
    if min(parts) <= 0:
        return NEVER
    # In logarithms, since products of many layers under- and overflow.
    signal = sum(map(math.log, parts))
    w = np.maximum(np.array(signs.strengths), SEED_STRENGTH)
    t = 1.0  # nothing happens sooner
    while (strength := signal + float(np.log(w).sum())) < 0:
        growth = rate * np.exp(strength - np.log(w))
        step = SHARE * float((w / np.maximum(growth, TINY)).min())
        t += step
        if not t < NEVER:
            return NEVER
        w = w + growth * step
    return t
