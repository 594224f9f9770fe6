"""What broke the ties, told from the classes of the start and from the arms.

Two neurons are *tied* when their rows and biases are equal to the last bit. A tied pair in
different classes is broken by training itself, through the tensor that tells them apart:
their outgoing columns. A pair in one class is kept for ever by exact arithmetic, so only
dropout, noise or round-off can break it; which it was, the arms show.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from pipeline.clock.arms import DROPOUT, NOISE, ArmRecord, run_arms, without_dropout
from pipeline.dataset import Dataset
from pipeline.errors import UsageError
from pipeline.init import FitData, initial_parameters
from pipeline.layers import trace_layers
from pipeline.plan import Member, Plan
from pipeline.stack import Stack
from pipeline.symmetry import Prediction, Symmetry, chain_prediction, chain_symmetry, is_chain, reached

__all__ = ["Clock", "Ties", "find_causes", "read_clock"]


@dataclass(frozen=True)
class Ties:
    """The tied pairs of one hidden layer at the start.

    Attributes:
        parting: in different classes, so that training breaks them.
        lasting: in one class.
    """

    parting: int
    lasting: int

    @classmethod
    def of(cls, symmetry: Symmetry, layer: int) -> "Ties":
        own = symmetry.layers[layer]
        rows = np.concatenate([own.weight, own.bias[:, None]], 1)
        classes = symmetry.classes[layer]
        pairs = [(a, b) for a in range(len(rows)) for b in range(a) if np.array_equal(rows[a], rows[b])]
        lasting = sum(int(classes[a] == classes[b]) for a, b in pairs)
        return cls(len(pairs) - lasting, lasting)


@dataclass(frozen=True)
class Clock:
    """All that is known of the ties of one start.

    Attributes:
        ties: of each hidden layer.
        reached: how many layers, counted from the output, a gradient gets to at the start.
        arms: by name.
        causes: one sentence each.
    """

    symmetry: Symmetry
    prediction: Prediction
    ties: list[Ties]
    reached: int
    arms: dict[str, ArmRecord]
    causes: list[str]


def read_clock(module: nn.Module, data: Dataset, member: Member, plan: Plan) -> Clock:
    """Settles the symmetry of a start, trains it under every arm, and says what broke its ties.

    Raises:
        UsageError: the network is no MLP, or its parameters aren't finite.
    """
    layers = trace_layers(module, data.x_train[:2])
    if not is_chain(module, layers, data.x_train[:2]):
        raise UsageError("model: symmetry is settled for MLPs only, linear layers with activations between them")
    fit = FitData.of(data.x_train, data.y_train, data.n_classes)
    start = dict(member.start) if member.start else initial_parameters(module, member.init, member.seed, fit)
    start = {name: p.to(torch.float32) for name, p in start.items()}
    symmetry = chain_symmetry(start, layers)
    if symmetry is None:
        raise UsageError("weight_init: its parameters aren't finite, so nothing can be said of their ties")
    stack = Stack(without_dropout(module), [start], torch.float64, len(data.x_train))
    x, y = data.x_train.to(torch.float64), data.y_train
    gradients, _, _ = stack.gradients(x.expand(stack.size, *x.shape), y.expand(stack.size, -1))
    found = reached([gradients[layer.weight][0].numpy() for layer in layers])
    ties = [Ties.of(symmetry, i) for i in range(len(symmetry.classes))]
    arms = run_arms(module, data, member, plan)
    dropout = any(isinstance(m, nn.Dropout) and m.p > 0 for m in module.modules())
    prediction = chain_prediction(symmetry, layers)
    return Clock(symmetry, prediction, ties, found, arms, find_causes(symmetry, ties, arms, dropout))


def find_causes(symmetry: Symmetry, ties: Sequence[Ties], arms: Mapping[str, ArmRecord], dropout: bool) -> list[str]:
    """What broke each kind of tie in the arm "configured", in words.

    Args:
        dropout: whether the configured network has dropout.
    """
    lasting = sum(tie.lasting for tie in ties)
    return [
        *_apart(symmetry, ties),
        *_parting(ties, arms),
        *([_lasting(lasting, arms, dropout), *_others(arms, dropout)] if lasting else []),
    ]


def _apart(symmetry: Symmetry, ties: Sequence[Ties]) -> list[str]:
    """Of layers without any tie: what tells their neurons apart."""
    said = []
    for i, (tie, broken_by) in enumerate(zip(ties, symmetry.broken_by, strict=True)):
        if tie.parting or tie.lasting or len(symmetry.classes[i]) == 1:
            continue
        by = " and ".join(name for name in ("rows", "biases") if broken_by[name])
        differ = f"its {by} differ" if by else "but the sums of its rows over the classes below are equal"
        said.append(f"layer {i + 1}: no tie at the start, {differ}")
    return said


def _parting(ties: Sequence[Ties], arms: Mapping[str, ArmRecord]) -> list[str]:
    exact = arms["exact"]
    when = f"the first at step {exact.first_break}" if exact.first_break >= 0 else f"none in {exact.steps} steps"
    return [
        f"layer {i + 1}: {_pairs(tie.parting)} told apart by the columns of layer {i + 2} (structural), {when}"
        for i, tie in enumerate(ties)
        if tie.parting
    ]


def _lasting(count: int, arms: Mapping[str, ArmRecord], dropout: bool) -> str:
    own = arms["configured"]
    kept = f"{_pairs(count)} that exact arithmetic keeps for ever"
    if own.lasting_break < 0:
        return f"{kept}: none broke in {own.steps} steps"
    alone = arms[own.dtype].lasting_break
    by_dropout = dropout and not 0 <= alone <= own.lasting_break
    cause = f"dropout (without it, {own.dtype}: {_at(alone)})" if by_dropout else "round-off"
    return f"{kept}: the first broke at step {own.lasting_break}, by {cause}"


def _others(arms: Mapping[str, ArmRecord], dropout: bool) -> list[str]:
    """What the other arms show of the lasting ties."""
    at = {name: arm.lasting_break for name, arm in arms.items()}
    exact, noise = arms["exact"].functional_width, arms["noise"].functional_width
    broke = at["float32"] >= 0 or at["float64"] >= 0
    batches = {at["full batch"] >= 0, at["minibatch"] >= 0}
    own = "the network's own dropout" if dropout else f"dropout of {DROPOUT:g}"
    return [
        f"round-off alone {'breaks one' if broke else 'breaks none'}: float32 {_at(at['float32'])}, "
        f"float64 {_at(at['float64'])}, exact arithmetic {_at(at['exact'])}",
        f"minibatches {'decide' if len(batches) == 2 else 'do not decide'} whether one breaks: in float64 full batch "
        f"{_at(at['full batch'])}, minibatch {_at(at['minibatch'])}",
        f"{own} {'breaks one' if at['dropout'] >= 0 else 'breaks none'}: {_at(at['dropout'])}",
        f"noise of {NOISE:g} at the start: functional width {noise:.3g} at the end, {exact:.3g} without it",
    ]


def _at(step: int) -> str:
    return f"at step {step}" if step >= 0 else "never"


def _pairs(count: int) -> str:
    return f"{count} tied pair{'s' if count > 1 else ''}"
