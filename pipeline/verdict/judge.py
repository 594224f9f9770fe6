"""From signs to a score in 0..1 and a sentence.

The score is a product of what must all hold, times a floor for a network that merely
stays where it is (one that blows up is worse):

    stability * (FLOOR + (1 - FLOOR) * growth * capacity * unsaturated * theory)

* stability: a logistic function of log10 of what a first step would change of the label
  loss, rate * sum_l ||grad_l||^2; the deeper the network, the sooner it blows up;
* growth: a logistic function of log10(steps given / steps needed), see ``growth``;
* capacity: distinct neurons for ever in the layer that loses most to copies, over the
  C - 1 directions that tell C classes apart (or all its neurons, if they are fewer), to
  the power 1.5; a channel counts with every value that the next layer weighs apart;
* unsaturated: saturation alone costs little;
* theory: 6 xi_c far below the depth (Schoenholz et al. 2017, sec. 5). Its weight is small
  because that is what was measured: as a factor of full weight it ranks trials worse.

The constants were set on 600 random trials on digits, the depth's from 1,000 more with
other data and rates in view; ``docs/verdict.md`` says how far they carry.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipeline.records import Verdict
from pipeline.theory import NONLINEARITIES, MeanField
from pipeline.verdict.growth import NEVER, escape_steps, first_change
from pipeline.verdict.signs import Signs

__all__ = ["HOPELESS", "Budget", "judge", "typical"]

HOPELESS = 0.1
"""Below this score a network is called hopeless."""

UNKNOWN = 0.5
FLOOR = 0.05
# log10 of the first change of the label loss at which networks of two hidden layers begin
# to blow up, and by how much a tenfold depth lowers it.
BLOW_UP, BLOW_UP_WIDTH, BLOW_UP_DEPTH = 2.9, 1.0, 3.0
# In decades of steps: twice the time given is about even, since the model is a slow one.
GROWTH_EVEN, GROWTH_WIDTH = -0.3, 0.5
CAPACITY_POWER = 1.5
SATURATION_COST = 0.2
THEORY_COST, THEORY_WIDTH = 0.1, 0.15
FAIR = 0.5  # a factor below this is named


@dataclass(frozen=True)
class Budget:
    """What training will be given.

    Attributes:
        steps: of the optimiser.
        rate: effective learning rate, lr / (1 - momentum).
    """

    steps: int
    rate: float


@dataclass(frozen=True)
class _Factors:
    stability: float
    growth: float
    capacity: float
    unsaturated: float
    theory: float

    @property
    def score(self) -> float:
        rest = self.growth * self.capacity * self.unsaturated * self.theory
        return self.stability * (FLOOR + (1 - FLOOR) * rest)


def judge(signs: Signs, budget: Budget) -> Verdict:
    """The verdict on one network."""
    if not signs.strengths:
        return not_judged("no layer with a weight was found")
    if signs.normalised:
        return not_judged("batch normalisation trains another network than the one at the start")
    if not signs.finite:
        return Verdict(0.0, "unstable: activations or gradients are not finite at the start", hopeless=True)
    steps = escape_steps(signs, budget.rate)
    limit = depth_limit(signs)
    onset = BLOW_UP - BLOW_UP_DEPTH * math.log10((signs.depth + 1) / 3)
    factors = _Factors(
        stability=_logistic((onset - _log10(first_change(signs, budget.rate))) / BLOW_UP_WIDTH),
        growth=_logistic((_log10(budget.steps / steps) - GROWTH_EVEN) / GROWTH_WIDTH),
        capacity=min(
            (_capacity(*of, signs.classes) for of in zip(signs.widths, signs.units, signs.seen_apart, strict=True)),
            default=1.0,
        ),
        unsaturated=1 - SATURATION_COST * max(0.0, 2 * signs.flat - 1),
        theory=1 - THEORY_COST * _logistic(-(_log10(limit / max(signs.depth, 1)) + 1) / THEORY_WIDTH),
    )
    sentence = _sentence(signs, budget, factors, steps, limit)
    # The model of the plateau is one of layer after layer: of other networks only what needs no model is certain.
    certain = signs.sequential or signs.reached == 0 or factors.stability < FAIR
    return Verdict(factors.score, sentence, hopeless=certain and factors.score < HOPELESS, certain=certain)


def _capacity(width: int, units: int, seen_apart: int, classes: int) -> float:
    """What is left to a layer of ``units`` neurons of which ``width`` are distinct, with ``seen_apart`` values each."""
    return float(min(1.0, seen_apart * width / min(classes - 1, seen_apart * units)) ** CAPACITY_POWER)


def typical(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a trial: that of the replicate whose score is the (lower) median."""
    ranked = sorted(verdicts, key=lambda v: v.score)
    return ranked[(len(ranked) - 1) // 2]


def depth_limit(signs: Signs) -> float:
    """6 xi_c at the measured variances of weights and biases; inf where theory has no say."""
    if signs.activation not in NONLINEARITIES or not signs.chain or signs.sigma_w2 <= 0:
        return math.inf
    # Replicates differ by less than two digits, and the search for a fixed point takes a while.
    return _depth_limit(signs.activation, float(f"{signs.sigma_w2:.1e}"), float(f"{signs.sigma_b2:.1e}"))


@lru_cache(maxsize=1024)
def _depth_limit(activation: str, sigma_w2: float, sigma_b2: float) -> float:
    return MeanField(activation, sigma_w2, sigma_b2).depth_limit


def _sentence(signs: Signs, budget: Budget, factors: _Factors, steps: float, limit: float) -> str:
    """The first reason that applies, the worst first."""
    layers = len(signs.strengths)
    if factors.stability < FAIR:
        return f"unstable: a first step would move the loss by about {first_change(signs, budget.rate):.0e}"
    if factors.growth < FAIR:
        return _no_growth(signs, budget, steps, limit, layers)
    if factors.capacity < FAIR:
        narrowest, unit = min(signs.widths), _unit(signs)
        if narrowest == 1:
            return f"one {unit} {'a' if max(signs.widths) == 1 else 'in a'} layer for ever"
        return f"{narrowest} distinct {unit}s in a layer for ever, for {signs.classes} classes"
    if signs.flat > FAIR and factors.unsaturated < 0.9:
        return f"saturated: {signs.flat:.0%} of units and samples are flat"
    if limit < signs.depth:
        return f"healthy, though 6 xi_c = {_short(limit)} < depth {signs.depth}"
    return "healthy"


def not_judged(reason: str) -> Verdict:
    """Of a network that the signs say nothing about."""
    return Verdict(UNKNOWN, f"not judged: {reason}", hopeless=False, certain=False)


def _no_growth(signs: Signs, budget: Budget, steps: float, limit: float, layers: int) -> str:
    if signs.depth and len(signs.dead_layers) == signs.depth:
        return "dead: every hidden unit is flat on all inputs"
    if signs.dead_layers:
        return f"dead: every unit of hidden layer {signs.dead_layers[0]} is flat on all inputs"
    if signs.reached == 0:
        return "dead: no weight gets a gradient"
    if min(signs.widths, default=2) == max(signs.widths, default=2) == 1:
        return f"one {_unit(signs)} a layer for ever"
    if signs.reached < layers:
        return f"gradient reaches {signs.reached} of {layers} layers"
    if limit < signs.depth:
        return f"6 xi_c = {_short(limit)} < depth {signs.depth}"
    if steps >= NEVER:
        return "too slow: no number of steps is enough to follow the labels"
    return f"too slow: needs about {steps:.0e} steps to follow the labels, has {budget.steps}"


def _unit(signs: Signs) -> str:
    """Neurons, or channels and neurons."""
    return "neuron" if signs.chain else "unit"


def _short(limit: float) -> str:
    return f"{limit:.0f}" if limit >= 10 else f"{limit:.2g}"


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-max(-700.0, min(700.0, x))))


def _log10(x: float) -> float:
    return math.log10(min(max(x, 1e-300), 1e300))
