"""Independent slow oracles: one network, float64, loops, numpy. Written from the definitions."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn


def copies_share(vectors: list[np.ndarray], same) -> float:
    """Share of vectors that are no copy of an earlier one."""
    distinct = 0
    for i in range(len(vectors)):
        if not any(same(vectors[i], vectors[j]) for j in range(i)):
            distinct += 1
    return distinct / len(vectors)


def effective_width(weight: np.ndarray, bias: np.ndarray) -> float:
    rows = [np.append(w, b) for w, b in zip(weight, bias, strict=True)]
    largest = max(float(np.sqrt((r * r).sum())) for r in rows)
    return copies_share(rows, lambda a, b: float(np.sqrt(((a - b) ** 2).sum())) <= 1e-5 * largest)


def functional_width(activations: np.ndarray) -> float:
    """activations: (samples, units)."""

    def same(a: np.ndarray, b: np.ndarray) -> bool:
        const_a, const_b = (np.abs(v - v.mean()).max() <= 1e-7 * np.abs(v).max() for v in (a, b))
        if const_a or const_b:
            return bool(const_a and const_b)
        return abs(float(np.corrcoef(a, b)[0, 1])) > 1 - 1e-5

    return copies_share(list(activations.T), same)


def effective_rank(weight: np.ndarray) -> float:
    values = np.sqrt(np.clip(np.linalg.eigvalsh(weight @ weight.T), 0, None))
    values = np.sort(values)[::-1][: min(weight.shape)]
    if values.sum() == 0:
        return 0.0
    entropy = -sum(p * math.log(p) for p in values / values.sum() if p > 0)
    return math.exp(entropy) / min(weight.shape)


def row_cosine(weight: np.ndarray) -> float:
    found = []
    for i in range(len(weight)):
        for j in range(len(weight)):
            if i == j:
                continue
            a, b = weight[i], weight[j]
            na, nb = math.sqrt(float(a @ a)), math.sqrt(float(b @ b))
            found.append(1.0 if na == nb == 0 else 0.0 if na == 0 or nb == 0 else abs(float(a @ b)) / (na * nb))
    return float(np.mean(found))


def phi(name: str, z: float) -> float:
    return {
        "tanh": math.tanh,
        "sigmoid": lambda z: 1 / (1 + math.exp(-z)) if z > -700 else 0.0,
        "relu": lambda z: max(z, 0.0),
        "gelu": lambda z: z * 0.5 * (1 + math.erf(z / math.sqrt(2))),
        "softsign": lambda z: z / (1 + abs(z)),
    }[name](z)


def slope(name: str, z: float) -> float:
    """phi' by autograd of torch's own function."""
    module = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "relu": nn.ReLU, "gelu": nn.GELU, "softsign": nn.Softsign}[name]()
    x = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    module(x).backward()
    return float(x.grad)


MAX_SLOPE = {"tanh": 1.0, "sigmoid": 0.25, "relu": 1.0, "softsign": 1.0, "gelu": 1.12890414518515}


def flat(name: str, z: float) -> bool:
    return abs(slope(name, z)) < 0.1 * MAX_SLOPE[name]


def linear(name: str, z: float) -> bool:
    if name in ("relu", "gelu"):
        return z > 0 and abs(phi(name, z) - z) <= 0.05 * z
    start, gradient = phi(name, 0.0), slope(name, 0.0)
    return abs(phi(name, z) - start - gradient * z) <= 0.05 * abs(gradient * z)


def flat_fraction(name: str, z: np.ndarray) -> float:
    return float(np.mean([flat(name, float(v)) for v in z.ravel()]))


def dead_fraction(name: str, z: np.ndarray) -> float:
    """z: (samples, units)."""
    return float(np.mean([all(flat(name, float(v)) for v in column) for column in z.T]))


def linear_fraction(name: str, z: np.ndarray) -> float:
    return float(np.mean([linear(name, float(v)) for v in z.ravel()]))


@dataclass
class LayerView:
    """One layer of one network. ``z``, ``a`` and ``start``: (samples, units); None for the output layer."""

    activation: str | None
    weight: np.ndarray
    bias: np.ndarray
    gradient: np.ndarray
    bias_gradient: np.ndarray
    previous: np.ndarray
    z: np.ndarray | None = None
    a: np.ndarray | None = None
    start: np.ndarray | None = None
    outgoing: list[np.ndarray] | None = None


@dataclass
class NetworkView:
    """One network: its layers in order, and each probe sample's Jacobian (classes, inputs)."""

    layers: list[LayerView]
    jacobians: list[np.ndarray]


def copying_share(vectors: list[np.ndarray]) -> float:
    """Share of vectors that agree with another one to 1e-5 of the largest norm."""
    limit = 1e-5 * max(float(np.linalg.norm(v)) for v in vectors)
    n = len(vectors)
    copying = [
        any(np.linalg.norm(vectors[i] - vectors[j]) <= limit * (1 + 1e-12) for j in range(n) if j != i)
        for i in range(n)
    ]
    return float(np.mean(copying))


def rows(weight: np.ndarray, bias: np.ndarray) -> list[np.ndarray]:
    return [np.append(w, b) for w, b in zip(weight, bias, strict=True)]


def cloning_r2(a: np.ndarray) -> float:
    found = []
    for i, own in enumerate(a.T):
        nearest = min((float(((own - other) ** 2).sum()) for j, other in enumerate(a.T) if j != i), default=math.inf)
        total, size = float(((own - own.mean()) ** 2).sum()), float((own**2).sum())
        if total <= 1e-14 * size:
            found.append(1.0 if nearest <= 1e-14 * size else 0.0)
        else:
            found.append(max(0.0, 1 - nearest / total))
    return float(np.mean(found))


def stable_rank(weight: np.ndarray) -> float:
    spectral = np.linalg.norm(weight, 2)
    return float((weight**2).sum() / spectral**2 / min(weight.shape)) if spectral else 0.0


def srank(a: np.ndarray) -> float:
    values = np.linalg.svd(a, compute_uv=False)
    count, reached = 0, 0.0
    while reached < 0.99 * values.sum() * (1 - 1e-12):
        reached += values[count]
        count += 1
    return count / min(a.shape)


def varying(a: np.ndarray) -> np.ndarray:
    """Centred; units that differ from their mean by round-off alone are 0."""
    away = a - a.mean(0)
    return np.where(np.abs(away).max(0) <= 1e-7 * np.abs(a).max(0), 0.0, away)


def participation_ratio(a: np.ndarray) -> float:
    values = np.linalg.eigvalsh(np.atleast_2d(np.cov(varying(a).T)))
    if not values.any():
        return 0.0
    return float(values.sum() ** 2 / (values**2).sum() / min(len(a) - 1, a.shape[1]))


def dormant_fraction(a: np.ndarray) -> float:
    sizes = [float(np.abs(unit).mean()) for unit in a.T]
    mean = sum(sizes) / len(sizes)
    return float(np.mean([size <= 0.025 * mean for size in sizes]))


def skewed_fraction(z: np.ndarray) -> float:
    shares = [sum(v > 0 for v in unit) / len(unit) for unit in z.T]
    return float(np.mean([share > 0.9 + 1e-9 or share < 0.1 - 1e-9 for share in shares]))


def rakitianskaia_engelbrecht(name: str, a: np.ndarray) -> float | None:
    """By ten bins, as it is published."""
    if name not in ("tanh", "sigmoid", "softsign"):
        return None
    scaled = a.ravel() * 2 - 1 if name == "sigmoid" else a.ravel()
    bins = np.minimum(((scaled + 1) / 0.2).astype(int), 9)
    total = 0.0
    for b in range(10):
        inside = scaled[bins == b]
        total += len(inside) * abs(float(inside.mean())) if len(inside) else 0.0
    return total / len(scaled)


def update_ratio(layers: list[LayerView]) -> float:
    moved = sum(float(((la.weight - la.previous) ** 2).sum()) for la in layers)
    size = sum(float((la.previous**2).sum()) for la in layers)
    return 0.0 if moved == 0 else math.sqrt(moved / size) if size else math.inf


def gradient_ratio(layers: list[LayerView]) -> float:
    first, last = (
        math.sqrt(float((layers[k].gradient ** 2).sum() + (layers[k].bias_gradient ** 2).sum())) for k in (0, -1)
    )
    return 0.0 if first == 0 else first / last


def jacobian_values(jacobian: np.ndarray) -> np.ndarray:
    values = np.linalg.svd(jacobian, compute_uv=False)
    return np.where(values > np.finfo(np.float64).eps * max(jacobian.shape) * values.max(), values, 0.0)


def jacobian_condition(jacobians: list[np.ndarray]) -> float:
    logarithms = []
    for values in map(jacobian_values, jacobians):
        logarithms.append(math.log(values[0] / values[-1]) if values[-1] else math.inf)
    return math.exp(sum(logarithms) / len(logarithms))


def cka(a: np.ndarray, b: np.ndarray) -> float:
    """By Gram matrices over samples: HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L))."""
    k, m = (varying(v) / (np.abs(varying(v)).max() or 1.0) for v in (a, b))
    k, m = k @ k.T, m @ m.T
    if not k.any() or not m.any():
        return float(k.any() == m.any())
    return float((k * m).sum() / math.sqrt((k * k).sum() * (m * m).sum()))


LAYER: dict[str, Callable[[LayerView], float | None]] = {
    "redundancy/effective_width": lambda la: effective_width(la.weight, la.bias),
    "redundancy/functional_width": lambda la: functional_width(la.a),
    "redundancy/effective_rank": lambda la: effective_rank(la.weight),
    "redundancy/stable_rank": lambda la: stable_rank(la.weight),
    "redundancy/srank": lambda la: srank(la.a),
    "redundancy/participation_ratio": lambda la: participation_ratio(la.a),
    "redundancy/row_cosine": lambda la: row_cosine(la.weight),
    "redundancy/row_copies": lambda la: copying_share(rows(la.weight, la.bias)),
    "redundancy/column_copies": lambda la: None if la.outgoing is None else copying_share(la.outgoing),
    "redundancy/gradient_copies": lambda la: copying_share(rows(la.gradient, la.bias_gradient)),
    "redundancy/cloning_r2": lambda la: cloning_r2(la.a),
    "saturation/flat_fraction": lambda la: flat_fraction(la.activation, la.z),
    "saturation/dead_fraction": lambda la: dead_fraction(la.activation, la.z),
    "saturation/linear_fraction": lambda la: linear_fraction(la.activation, la.z),
    "saturation/dormant_fraction": lambda la: dormant_fraction(la.a),
    "saturation/skewed_fraction": lambda la: skewed_fraction(la.z),
    "saturation/rakitianskaia_engelbrecht": lambda la: rakitianskaia_engelbrecht(la.activation, la.a),
    "signal/activation_variance": lambda la: float(np.var(la.a)),
    "signal/gradient_variance": lambda la: float(np.var(la.gradient)),
    "signal/layer_update_ratio": lambda la: update_ratio([la]),
    "signal/cka_to_start": lambda la: cka(la.a, la.start),
}
NETWORK: dict[str, Callable[[NetworkView], float | None]] = {
    "signal/gradient_ratio": lambda net: gradient_ratio(net.layers),
    "signal/update_ratio": lambda net: update_ratio(net.layers),
    "signal/jacobian_mean": lambda net: float(np.mean([jacobian_values(j) for j in net.jacobians])),
    "signal/jacobian_condition": lambda net: jacobian_condition(net.jacobians),
}


def train_alone(
    module: nn.Module,
    batches: list[tuple[torch.Tensor, torch.Tensor]],
    make_optimizer,
) -> dict[str, torch.Tensor]:
    """The plain loop that everybody writes."""
    optimizer = make_optimizer(module.parameters())
    module.train()
    for x, y in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    return {name: p.detach().clone() for name, p in module.state_dict().items()}
