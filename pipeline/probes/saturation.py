"""Saturation: which units sit where their activation is flat, and which act linearly."""

import torch
from torch import Tensor

from pipeline.probes.numeric import quotient
from pipeline.probes.registry import About, Cost, Pool, layer_probe
from pipeline.probes.state import LayerState

__all__ = [
    "dead_fraction",
    "dormant_fraction",
    "flat_fraction",
    "linear_fraction",
    "rakitianskaia_engelbrecht",
    "skewed_fraction",
]

DORMANT_TAU = 0.025
SKEWED_SHARE = 0.9


@layer_probe(
    "saturation/flat_fraction",
    Pool.UNITS,
    Cost.LIGHT,
    About(
        "share of (unit, sample) with abs(phi'(z)) < 0.1 max abs(phi')",
        "the lab's own: one definition for every activation",
        "tanh at z = 0, 1.81, 1.82, -5 and 0, 0, 0, -1.82: 3/8 (the slope is 0.1 at 1.8184)",
        "'Saturation' of the package delve is a rank: the share of directions that hold 99 % of the variance of a "
        "layer's output, which says nothing of the slope (nearest here: `redundancy/srank`).",
    ),
    headline=True,
)
def flat_fraction(layer: LayerState) -> Tensor:
    return layer.flat.mean(1) / layer.look.samples


@layer_probe(
    "saturation/dead_fraction",
    Pool.UNITS,
    Cost.LIGHT,
    About(
        "share of units flat on every probe sample",
        "the lab's own",
        "ReLU, four units over z = (-1, 0, 1, -1) and (-1, 0, -1, 2): 2/4",
        "In the ReLU literature a dead unit is one that outputs 0 on all data: the same for ReLU. For tanh and sigmoid "
        "units that are stuck at either end count here, whatever they output.",
    ),
    headline=True,
)
def dead_fraction(layer: LayerState) -> Tensor:
    return (layer.flat == layer.look.samples).to(torch.float64).mean(1)


@layer_probe(
    "saturation/linear_fraction",
    Pool.UNITS,
    Cost.LIGHT,
    About(
        "share of (unit, sample) with abs(phi(z) - phi(0) - phi'(0) z) <= 0.05 abs(phi'(0) z); for ReLU and GELU the "
        "tangent is that of the active branch, phi(z) = z",
        "the lab's own; the linear region of LeCun et al. 1998, 'Efficient BackProp', sec. 4.6",
        "tanh at z = 0.39, 0.40, -0.39 and five times 9: 2/8 (tanh(z) / z is 0.95 at 0.3995)",
        "'Linear regions' of ReLU networks count pieces of the input space, which is another thing.",
    ),
    headline=True,
)
def linear_fraction(layer: LayerState) -> Tensor:
    assert layer.activation is not None
    return layer.look.inside(layer.activation.linear_where).mean(1) / layer.look.samples


@layer_probe(
    "saturation/dormant_fraction",
    Pool.UNITS,
    Cost.LIGHT,
    About(
        "share of units with score <= 0.025, score_i = mean_x abs(a_i(x)) / mean over the layer's units of the same. "
        "1 for a layer whose activations are all 0",
        "Sokar et al. 2023, 'The dormant neuron phenomenon', definition of a tau-dormant neuron, tau = 0.025",
        "activations of mean size 0, 0.02, 1 and 1: scores 0, 0.04, 1.98, 1.98, so 1/4",
        "A dormant unit is small beside its neighbours, not flat: a saturated tanh unit is never dormant, and a layer "
        "of equally tiny units has none.",
    ),
)
def dormant_fraction(layer: LayerState) -> Tensor:
    size = layer.look.mean_size
    score = quotient(size, size.mean(1, keepdim=True))
    return (score <= DORMANT_TAU).to(torch.float64).mean(1)


@layer_probe(
    "saturation/skewed_fraction",
    Pool.UNITS,
    Cost.LIGHT,
    About(
        "share of units with z > 0 on more than 0.9 or on less than 0.1 of the probe samples",
        "the lab's own",
        "z of three units over ten samples, positive on 10, 9 and 0 of them: 2/3",
    ),
)
def skewed_fraction(layer: LayerState) -> Tensor:
    positive, samples = layer.look.above[0.0], layer.look.samples
    # In whole samples: 9 of 10 are not more than 0.9.
    majority = torch.maximum(positive, samples - positive)
    return (majority > SKEWED_SHARE * samples + 1e-9).to(torch.float64).mean(1)


@layer_probe(
    "saturation/rakitianskaia_engelbrecht",
    Pool.UNITS,
    Cost.LIGHT,
    About(
        "sum_b f_b abs(g_b) / sum_b f_b over B = 10 equal bins of the activation's range, f_b the outputs of the "
        "layer in bin b and g_b their mean, the range scaled to [-1, 1]. As no bin reaches across 0 when B is even, "
        "that is the mean of abs(g) over all outputs, and so it is computed. Left out for activations without bounds",
        "Rakitianskaia & Engelbrecht 2015, 'Measuring saturation in neural networks'",
        "tanh outputs -1, 0, 0.5 and 0.9: 0.6; sigmoid outputs 0, 0.5, 1 and 1: 0.75",
        "It grows from 0 (all outputs in the middle) over 1/2 (spread evenly) to 1 (all at the ends), where "
        "`saturation/flat_fraction` counts those beyond a threshold.",
    ),
)
def rakitianskaia_engelbrecht(layer: LayerState) -> Tensor | None:
    assert layer.activation is not None
    if layer.activation.bounds is None:
        return None
    low, high = layer.activation.bounds
    return layer.look.mean_away.mean(1) / ((high - low) / 2)
