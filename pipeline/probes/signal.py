"""Signal: what of inputs and gradients gets through, and how large the steps are."""

import torch
from torch import Tensor

from pipeline.probes.numeric import centred, elementwise, norms, on_cpu, quotient
from pipeline.probes.registry import About, Cost, Need, Pool, layer_probe, network_probe
from pipeline.probes.state import LayerState, Snapshot

__all__ = [
    "activation_variance",
    "cka_to_start",
    "gradient_ratio",
    "gradient_variance",
    "jacobian_condition",
    "jacobian_mean",
    "layer_update_ratio",
    "update_ratio",
]


def _gradient_norm(layer: LayerState) -> Tensor:
    """Norm of the gradient by all the layer's parameters, ``(S,)``."""
    return norms(torch.stack([layer.gradient_size[0], norms(layer.bias_gradient)], 1))


@network_probe(
    "signal/gradient_ratio",
    Cost.LIGHT,
    About(
        "norm of the gradient by the first layer's weights and biases / the same of the last layer. 0 if none reaches "
        "the first",
        "the lab's own; vanishing and exploding gradients: Bengio et al. 1994",
        "gradients (3, 4) of the first layer, (0, 10) of the last: 0.5",
    ),
    headline=True,
)
def gradient_ratio(snapshot: Snapshot) -> Tensor | None:
    if len(snapshot.layers) < 2:
        return None
    first, last = _gradient_norm(snapshot.layers[0]), _gradient_norm(snapshot.layers[-1])
    return torch.where(first == 0, 0.0, first / last)


@network_probe(
    "signal/update_ratio",
    Cost.LIGHT,
    About(
        "norm of the last update / norm of the weights it was added to, over all weight matrices, without biases. "
        "`init/signal/update_ratio` is that of the first step",
        "the lab's own; a rule of thumb among practitioners is 1e-3",
        "one step of SGD: lr times the norm of the weights' gradient, over the norm of the weights at the start",
    ),
    headline=True,
)
def update_ratio(snapshot: Snapshot) -> Tensor | None:
    return snapshot.update_ratio


@layer_probe(
    "signal/layer_update_ratio",
    Pool.NONE,
    Cost.LIGHT,
    About(
        "`signal/update_ratio` of each weight matrix, that of the output layer among them; from the first step on",
        "the lab's own",
        "one step of SGD: lr times the norm of the layer's weight gradient, over the norm of its weights at the start",
    ),
    output_too=True,
)
def layer_update_ratio(layer: LayerState) -> Tensor | None:
    return layer.update_ratio


@layer_probe(
    "signal/activation_variance",
    Pool.NONE,
    Cost.LIGHT,
    About(
        "variance of the activations over all (unit, sample) of a hidden layer",
        "Glorot & Bengio 2010, sec. 4.2.1, who ask that it be the same in all layers",
        "activations 1, 1, 3 and 3: 1",
    ),
)
def activation_variance(layer: LayerState) -> Tensor:
    within, mean = layer.look.variance, layer.look.mean
    between = (mean - mean.mean(1, keepdim=True)).square()
    return (within + between).mean(1)


@layer_probe(
    "signal/gradient_variance",
    Pool.NONE,
    Cost.LIGHT,
    About(
        "variance of the entries of the loss's gradient by a weight matrix, the output layer's among them",
        "Glorot & Bengio 2010, sec. 4.2.1",
        "gradient entries 1, 1, 3 and 3: 1",
        "The same section also follows the variance of the gradient by the pre-activations of each sample, which is "
        "another number; this one is of the gradient by the weights, averaged over the probe batch.",
    ),
    output_too=True,
)
def gradient_variance(layer: LayerState) -> Tensor:
    return layer.gradient_size[1]


def _jacobian_values(snapshot: Snapshot) -> Tensor | None:
    """Singular values in falling order, ``(S, samples, min(classes, inputs))``."""
    jacobian = snapshot.jacobian
    if isinstance(jacobian, Exception):
        raise jacobian
    if jacobian is None:
        return None
    largest = jacobian.abs().amax((2, 3), keepdim=True)
    usable = largest.isfinite() & (largest > 0)
    scale = torch.where(usable, largest, 1.0).to(torch.float64)
    values = on_cpu(torch.linalg.svdvals, torch.where(usable, jacobian, 0.0).to(torch.float64) / scale)
    # What is below the precision of the Jacobian's entries is 0.
    floor = torch.finfo(jacobian.dtype).eps * max(jacobian.shape[2:]) * values[..., :1]
    values = torch.where(values > floor, values, 0.0) * scale[..., 0]
    return torch.where(largest.isfinite()[..., 0], values, torch.nan)


@network_probe(
    "signal/jacobian_mean",
    Cost.FULL,
    About(
        "mean singular value of the Jacobian of the logits by the inputs, over the first 32 probe samples",
        "Saxe et al. 2014 and Pennington et al. 2017, for whom all values near 1 are dynamical isometry",
        "logits diag(3, 1) x: 2",
        "Some give the mean of the squared singular values, which a critical initialisation keeps at 1.",
    ),
    need=Need.JACOBIAN,
)
def jacobian_mean(snapshot: Snapshot) -> Tensor | None:
    values = _jacobian_values(snapshot)
    return None if values is None else values.mean((1, 2))


@network_probe(
    "signal/jacobian_condition",
    Cost.FULL,
    About(
        "largest / smallest singular value of the Jacobian of the logits by the inputs, geometric mean over the first "
        "32 probe samples. Infinite where the smallest is 0 to the precision of the training",
        "Saxe et al. 2014 and Pennington et al. 2017",
        "logits diag(3, 1) x: 3; two equal logits: infinite",
    ),
    need=Need.JACOBIAN,
)
def jacobian_condition(snapshot: Snapshot) -> Tensor | None:
    values = _jacobian_values(snapshot)
    if values is None:
        return None
    largest, smallest = values[..., 0], values[..., -1]
    logarithm = elementwise(torch.log, largest) - elementwise(torch.log, smallest)
    mean = torch.where(smallest == 0, torch.inf, logarithm).mean(1)
    return elementwise(torch.exp, mean)


@layer_probe(
    "signal/cka_to_start",
    Pool.LAYERS,
    Cost.FULL,
    About(
        "|B'A|_F^2 / (|A'A|_F |B'B|_F) with A the centred activations (samples x units) now and B those at step 0. "
        "Where both are constant 1, where one is 0",
        "linear CKA: Kornblith et al. 2019, 'Similarity of neural network representations revisited'",
        "step 0: 1; activations turned by a rotation and scaled: 1; (1, 0, -1) against (1, -2, 1): 0",
        "CKA with other kernels, and the debiased estimator, give other numbers.",
    ),
    need=Need.START,
    signals=True,
)
def cka_to_start(layer: LayerState) -> Tensor | None:
    if layer.start is None:
        return None
    assert layer.a is not None
    now, start = centred(layer.a), centred(layer.start)
    cross = (start.mT @ now).square().sum((1, 2))
    own = [(a.mT @ a).square().sum((1, 2)).sqrt() for a in (now, start)]
    both_constant = (own[0] == 0) & (own[1] == 0)
    return torch.where(both_constant, 1.0, quotient(cross, own[0] * own[1]))
