"""Independent slow oracles: one network, float64, loops, numpy. Written from the definitions."""

import math

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
