"""Random ties: networks whose rows, biases and columns are equal in random partitions.

Each hidden layer has three random partitions of its neurons, for rows, biases and columns,
which coincide, nest or are independent of each other. A weight is constant on blocks: the
entry of row class r and column class c is Q[r, c], so that neurons of one row class have
equal rows and neurons of one column class equal columns, to the last bit.
"""

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from pipeline.dataset import Dataset
from pipeline.init import InitSpec
from pipeline.models import MLP
from pipeline.optim import OptimizerSpec
from pipeline.plan import Member, Plan
from pipeline.records import MemberRecord
from pipeline.symmetry import LayerWeights, Symmetry, find_symmetry
from pipeline.train import train

# So that the numbers of different classes differ visibly.
MARGIN = 0.25
RELATIONS = ("same", "coarser", "independent")


@dataclass(frozen=True)
class Regime:
    """From what weights are drawn and how the network is trained.

    Attributes:
        spread: the smallest and largest root mean square of a neuron's W h over the data
            under tanh, twice that under sigmoid; None for Glorot & Bengio's variance.
        bias: standard deviation of the biases under tanh, twice that under sigmoid.
        lr: of each activation.
    """

    spread: tuple[float, float] | None
    bias: float
    optimizer: OptimizerSpec
    lr: dict[str, float]


# sigmoid(z) = (1 + tanh(z / 2)) / 2 bends at twice the z, and takes larger steps to get as far.
BENDING = Regime((1.0, 2.5), 1.0, OptimizerSpec("adam"), {"tanh": 0.006, "sigmoid": 0.015})
GLOROT_SGD = Regime(None, 0.1, OptimizerSpec("sgd", momentum=0.9), {"tanh": 0.05, "sigmoid": 0.05})
GLOROT_ADAM = Regime(None, 0.1, OptimizerSpec("adam"), {"tanh": 0.01, "sigmoid": 0.01})


@dataclass(frozen=True)
class Case:
    """The structure of one network with ties; its numbers follow from ``seed``."""

    depth: int
    width: int
    activation: str
    relations: tuple[tuple[str, str, str], ...]
    seed: int


@st.composite
def cases(draw) -> Case:
    depth = draw(st.integers(1, 4))
    relation = st.sampled_from(RELATIONS)
    return Case(
        depth,
        draw(st.sampled_from([4, 6, 8])),
        draw(st.sampled_from(["tanh", "sigmoid"])),
        tuple(draw(st.tuples(relation, relation, relation)) for _ in range(depth)),
        draw(st.integers(0, 2**63)),
    )


def draw_cases(count: int, with_seed: int) -> list[Case]:
    """``count`` different cases."""
    found: list[Case] = []

    @seed(with_seed)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found


def partition(rng: np.random.Generator, n: int) -> np.ndarray:
    """Labels of a random partition of n things; every number of classes is as likely."""
    k = rng.integers(1, n + 1)
    return rng.permutation(np.concatenate([np.arange(k), rng.integers(0, k, n - k)]))


def related(rng: np.random.Generator, relation: str, base: np.ndarray) -> np.ndarray:
    if relation == "same":
        return base
    return partition(rng, base.max() + 1)[base] if relation == "coarser" else partition(rng, len(base))


def strata(rng: np.random.Generator, k: int) -> np.ndarray:
    """k uniform numbers, one in each k-th of (0, 1), off the ends of that by ``MARGIN`` of its length."""
    return (rng.permutation(k) + rng.uniform(MARGIN, 1 - MARGIN, k)) / k


def normal_rows(rng: np.random.Generator, rows: int, k: int) -> np.ndarray:
    uniform = torch.tensor(np.stack([strata(rng, k) for _ in range(rows)]))
    return torch.special.ndtri(uniform).numpy()


def phi(case: Case, z: np.ndarray) -> np.ndarray:
    return np.tanh(z) if case.activation == "tanh" else (1 + np.tanh(z / 2)) / 2


def weights(case: Case, x: np.ndarray, n_classes: int, regime: Regime) -> list[LayerWeights]:
    """The layers of a case on inputs ``x (rows, features)``."""
    # From all of the case, since hypothesis likes to change a case in one place and keep its seed.
    rng = np.random.default_rng(list(hashlib.sha256(repr(case).encode()).digest()))
    unit = 1.0 if case.activation == "tanh" else 2.0
    h, below, layers = x, np.arange(x.shape[1]), []
    for relations in case.relations:
        base = partition(rng, case.width)
        rows, biases, columns = (related(rng, relation, base) for relation in relations)
        q = normal_rows(rng, rows.max() + 1, below.max() + 1)
        if regime.spread is None:
            q *= np.sqrt(2 / (len(below) + case.width))
        else:
            low, high = np.log(regime.spread)
            wanted = unit * np.exp(low + (high - low) * strata(rng, rows.max() + 1))
            q *= (wanted / np.sqrt(((h @ q[:, below].T) ** 2).mean(0)))[:, None]
        bias = unit * regime.bias * np.sqrt(3) * (2 * strata(rng, biases.max() + 1) - 1)
        layers.append(LayerWeights(q[rows][:, below], bias[biases]))
        h, below = phi(case, h @ layers[-1].weight.T + layers[-1].bias), columns
    q = normal_rows(rng, n_classes, below.max() + 1)
    q *= np.sqrt(2 / (case.width + n_classes)) if regime.spread is None else 2 / np.sqrt(case.width)
    return [*layers, LayerWeights(q[:, below], np.zeros(n_classes))]


@dataclass(frozen=True)
class Outcome:
    """A case, its start, and what became of it."""

    case: Case
    layers: list[LayerWeights]
    member: Member
    record: MemberRecord

    @property
    def symmetry(self) -> Symmetry:
        return find_symmetry(self.layers, odd=self.case.activation == "tanh")

    @property
    def widths(self) -> list[int]:
        """Functional width of each hidden layer at the end, in neurons."""
        last = max(row.step for row in self.record.layers)
        return [round(row.value * self.case.width) for row in self.record.layers if row.step == last]

    @property
    def exceeds(self) -> bool:
        """Whether a layer became wider than it was bound to be."""
        return any(a > b for a, b in zip(self.widths, self.symmetry.widths, strict=True))


def small(digits: Dataset) -> Dataset:
    """160 rows of the digits: enough classes that the activations of a layer don't collapse to a few points."""
    x, y = digits.x_train[:160].double(), digits.y_train[:160]
    few = {f"{a}_{part}": t[:32] for part in ("val", "test") for a, t in (("x", x), ("y", y))}
    return replace(digits, x_train=x, y_train=y, **few)


def plan_for(data: Dataset, regime: Regime) -> Plan:
    """200 float64 steps on the full batch."""
    return Plan(
        epochs=200,
        batch_size=len(data.x_train),
        optimizer=regime.optimizer,
        dtype="float64",
        probes=("redundancy/functional_width",),
        probe_points=2,
        keep_state=True,
    )


def train_cases(chosen: Sequence[Case], data: Dataset, regime: Regime, keep_ties: bool = False) -> list[Outcome]:
    """Trains every case, in stacks of one structure; ``keep_ties`` with gradients that break no tie."""
    groups: dict[tuple[int, int, str], list[Case]] = defaultdict(list)
    for case in chosen:
        groups[case.depth, case.width, case.activation].append(case)
    outcomes = []
    for (depth, width, activation), group in groups.items():
        module = MLP(data.input_shape, data.n_classes, depth, width, activation)
        layers = [weights(case, data.x_train.numpy(), data.n_classes, regime) for case in group]
        members = [Member(0, InitSpec(), lr=regime.lr[activation], start=named(own)) for own in layers]
        records = train(module, data, members, replace(plan_for(data, regime), keep_ties=keep_ties))
        outcomes += [Outcome(*found) for found in zip(group, layers, members, records, strict=True)]
    return outcomes


def named(layers: list[LayerWeights]) -> dict[str, torch.Tensor]:
    """As the parameters of an ``MLP``."""
    return {
        f"layers.{2 * i + 1}.{part}": torch.tensor(getattr(layer, part))
        for i, layer in enumerate(layers)
        for part in ("weight", "bias")
    }


def activations(case: Case, state: dict[str, np.ndarray], x: np.ndarray) -> list[np.ndarray]:
    """Activations ``(rows, units)`` of each hidden layer."""
    found, h = [], x
    for i in range(case.depth):
        z = h @ state[f"layers.{2 * i + 1}.weight"].T + state[f"layers.{2 * i + 1}.bias"]
        h = phi(case, z)
        found.append(h)
    return found
