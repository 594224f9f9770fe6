"""Networks trained in several companies on a device, to see whether that changes a bit of any of them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import lru_cache
from itertools import chain
from unittest.mock import patch

import numpy as np
from failing_probe import FAILING

from pipeline.config import Config, compose
from pipeline.device import reproducible
from pipeline.probes import PROBES
from pipeline.records import MemberRecord
from pipeline.runner import Job, Structure, member_of, setup
from pipeline.train import Training, train

WINE = ["dataset=wine", "trainer.epochs=3", "trainer.batch_size=32", "model.width=16", "probes=full"]
CASES = {
    "plain": WINE,
    "tied": [*WINE, "weight_init=constant"],
    "fitted": [*WINE, "weight_init=lsuv", "bias_init=data_centred"],
    "adam": [*WINE, "optimizer=adam", "optimizer.weight_decay=0.01"],
    "momentum": [*WINE, "optimizer.momentum=0.9"],
    "dropout": [*WINE, "model.dropout=0.3"],
    "float64": [*WINE, "trainer.dtype=float64"],
    "one diverges": [*WINE, "model.activation=relu"],
    "few probes": [*WINE, "probes.only=[signal/update_ratio]"],
    "a probe fails": [*WINE, "model.width=8", f"probes.only=[{', '.join(FAILING)}, redundancy/effective_rank]"],
    "cnn": ["trainer.batch_size=32", "model=cnn", "trainer.epochs=2", "dataset.train_limit=64", "probes=full"],
}
# Of the second network.
ODD = {"one diverges": ["optimizer.lr=1e30"], "a probe fails": ["weight_init=constant"]}
SEEDS = (0, 1, 2, 3, 4)
SLOTS = 8
CURVES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy")


def probes_of(case: str) -> AbstractContextManager[object]:
    """Within it there are the probes that the case names, of which some fail."""
    return patch.dict(PROBES, FAILING if case == "a probe fails" else {})


@lru_cache
def composed(*overrides: str) -> Config:
    return compose(overrides)


def jobs(case: str, device: str, *more: str, seeds: Sequence[int] = SEEDS) -> list[Job]:
    configs = [composed(*CASES[case], *more, *(ODD.get(case, []) if seed == 1 else [])) for seed in seeds]
    pairs = zip(configs, seeds, strict=True)
    return [Job(config.model_copy(update={"device": device}), seed, keep_state=True) for config, seed in pairs]


def bits(record: MemberRecord) -> str:
    """All of a record but how it was computed, to the last bit."""
    state = {name: values.tobytes().hex() for name, values in (record.state or {}).items()}
    looks = [(look.step, list(look.of), list(look.values)) for look in record.looks]
    return repr((record.init, record.final, record.curves, looks, record.failed, record.diverged_step, state))


def agree(a: MemberRecord, b: MemberRecord) -> bool:
    """Whether networks and curves are the same to the last bit, and what probes found but for round-off.

    (Sums over feature maps round otherwise where these lie otherwise in memory.)
    """
    assert a.state is not None
    assert b.state is not None
    same = all(np.array_equal(values, b.state[name], equal_nan=True) for name, values in a.state.items())
    curves = [repr([record.curves[name] for name in CURVES]) for record in (a, b)]
    found = [[record.init | record.final, *(look.values for look in record.looks)] for record in (a, b)]
    values = [[*own[0].values(), *chain.from_iterable(own[1:])] for own in found]
    keys = (a.final.keys(), a.failed.keys(), a.diverged_step) == (b.final.keys(), b.failed.keys(), b.diverged_step)
    return same and curves[0] == curves[1] and keys and np.allclose(*values, rtol=1e-12, atol=0, equal_nan=True)


def trained(case: str, device: str, mode: str, slots: int = 0, seeds: Sequence[int] = SEEDS) -> list[MemberRecord]:
    own = jobs(case, device, seeds=seeds)
    data, module, plan = setup(Structure.of(own[0]))
    plan = replace(plan, execution=mode, slots=slots, keep_state=True)
    return train(module, data, [member_of(job) for job in own], plan)


def paused(case: str, device: str, mode: str, slots: int) -> list[MemberRecord]:
    """Trained an epoch together, then two of them on, the other way round."""
    own = jobs(case, device)
    data, module, plan = setup(Structure.of(own[0]))
    plan = replace(plan, execution=mode, slots=slots, keep_state=True)
    with reproducible(device):
        first = Training(module, data, [member_of(job) for job in own], plan)
        first.run(1)
        parts = first.pause().single()
        second = Training(module, data, [parts[3], parts[1]], plan)
        second.run(plan.epochs)
        return second.finish()


def in_company(case: str, device: str, mode: str = "stacked") -> Iterator[tuple[str, bool]]:
    """Whether a network is to the last bit the same in other company, in a stack that is filled up with copies."""
    together = trained(case, device, mode, SLOTS)
    there = list(map(bits, together))
    losses = [[record.final["val/loss"] for record in part] for part in (together, trained(case, "cpu", "stacked"))]
    yield "about as on the CPU", np.allclose(*losses, rtol=1e-3, equal_nan=True)
    yield "again", list(map(bits, trained(case, device, mode, SLOTS))) == there
    for i in (1, 2):
        (alone,) = trained(case, device, mode, SLOTS, SEEDS[i : i + 1])
        yield f"number {i} alone", bits(alone) == there[i]
    yield "paused", list(map(bits, paused(case, device, mode, SLOTS))) == [there[3], there[1]]
    yield "diverged", [r.seed for r in together if r.diverged_step is not None] == [1] * (case == "one diverges")
    yield "failed", [r.seed for r in together if r.failed] == [1] * (case == "a probe fails")
