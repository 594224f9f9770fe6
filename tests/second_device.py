"""Trains on ``second_device.cpp``, in a process of its own, and prints what came of it as JSON.

Everything that the lab does on a GPU but the GPU's own arithmetic: where tensors lie, how
stacks are filled up, what is measured where, and what happens when memory runs out.
"""

import ctypes
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from types import SimpleNamespace

import numpy as np
import torch

from pipeline.config import compose
from pipeline.device import device_name, reproducible
from pipeline.modes import notes
from pipeline.parts import choice_of, workers_of
from pipeline.pool import run_jobs
from pipeline.records import MemberRecord
from pipeline.runner import Job, Structure, load_dataset, member_of, setup, verdicts
from pipeline.train import Training, train

NAME = "second"
WINE = ["dataset=wine", "trainer.epochs=3", "trainer.batch_size=32", "model.width=16", "probes=full"]
CASES = {
    "plain": WINE,
    "tied": [*WINE, "weight_init=constant"],
    "fitted": [*WINE, "weight_init=lsuv", "bias_init=data_centred"],
    "adam": [*WINE, "optimizer=adam", "optimizer.weight_decay=0.01"],
    "momentum": [*WINE, "optimizer.momentum=0.9"],
    "dropout": [*WINE, "model.dropout=0.3"],
    "float64": [*WINE, "trainer.dtype=float64"],
    "diverging": [*WINE, "optimizer.lr=1e20"],
    "cnn": ["dataset=digits", "model=cnn", "trainer.epochs=1", "dataset.train_limit=128", "probes=full"],
}
SEEDS = (0, 1, 2, 3, 4)


def load(path: str) -> ctypes.CDLL:
    torch.ops.load_library(path)
    library = ctypes.CDLL(path)
    library.second_device_has.argtypes, library.second_device_free.restype = [ctypes.c_size_t], ctypes.c_size_t
    torch.utils.rename_privateuse1_backend(NAME)
    module = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 1,
        _is_in_bad_fork=lambda: False,
        manual_seed_all=lambda _: None,
        current_device=lambda: 0,
        get_device_name=lambda: "the second device",
        mem_get_info=lambda: (library.second_device_free(), library.second_device_free()),
    )
    torch._register_device_module(NAME, module)
    return library


def jobs(overrides: Sequence[str], device: str, seeds: Sequence[int] = SEEDS) -> list[Job]:
    config = compose(list(overrides)).model_copy(update={"device": device})
    return [Job(config, seed, keep_state=True) for seed in seeds]


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
    found = [[record.init | record.final, *(look.values for look in record.looks)] for record in (a, b)]
    values = [[*own[0].values(), *chain.from_iterable(own[1:])] for own in found]
    keys = (a.final.keys(), a.failed.keys(), a.diverged_step) == (b.final.keys(), b.failed.keys(), b.diverged_step)
    return same and keys and np.allclose(*values, rtol=1e-12, atol=0, equal_nan=True)


def trained(
    overrides: Sequence[str], device: str, mode: str, slots: int = 0, seeds: Sequence[int] = SEEDS
) -> list[MemberRecord]:
    own = jobs(overrides, device, seeds)
    data, module, plan = setup(Structure.of(own[0]))
    plan = replace(plan, execution=mode, slots=slots, keep_state=True)
    return train(module, data, [member_of(job) for job in own], plan)


def paused(overrides: Sequence[str], device: str, slots: int) -> list[MemberRecord]:
    """Trained an epoch together, then two of them on, the other way round."""
    own = jobs(overrides, device)
    data, module, plan = setup(Structure.of(own[0]))
    plan = replace(plan, execution="stacked", slots=slots, keep_state=True)
    with reproducible():
        first = Training(module, data, [member_of(job) for job in own], plan)
        first.run(1)
        parts = first.pause().single()
        second = Training(module, data, [parts[3], parts[1]], plan)
        second.run(plan.epochs)
        return second.finish()


def refused() -> list[str]:
    """What torch says where tensors lie on two devices: without this the rest would show nothing."""
    here, there = torch.ones(2, 3).to(NAME), torch.ones(2, 3)
    found = []
    calls: list[Callable[[], object]] = [
        lambda: here + there,
        lambda: torch.stack([here, there]),
        lambda: here @ there.T,
        lambda: torch.where(here > 0, here, there),
        lambda: here.index_add_(0, torch.tensor([0, 1]), there),
    ]
    for call in calls:
        try:
            call()
        except RuntimeError as error:
            found.append(str(error))
    return found


def in_company(overrides: Sequence[str], device: str) -> Iterator[tuple[str, bool]]:
    """Whether a network is to the last bit the same in other company, among it copies that fill up its stack."""
    together = trained(overrides, device, "stacked", slots=8)
    losses = [[r.final["val/loss"] for r in part] for part in (together, trained(overrides, "cpu", "stacked"))]
    yield "about as on the CPU", np.allclose(*losses, rtol=1e-3, equal_nan=True)
    yield "again", list(map(bits, trained(overrides, device, "stacked", slots=8))) == list(map(bits, together))
    (alone,) = trained(overrides, device, "stacked", slots=8, seeds=SEEDS[2:3])
    yield "alone", bits(alone) == bits(together[2])
    if compose(list(overrides)).trainer.epochs > 1:
        yield "paused", list(map(bits, paused(overrides, device, slots=8))) == [bits(together[3]), bits(together[1])]


def same(overrides: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Whether it is what the CPU computes, and as above."""
    for mode in ("stacked", "loop"):
        pairs = zip(trained(overrides, NAME, mode), trained(overrides, "cpu", mode), strict=True)
        yield mode, all(agree(*pair) for pair in pairs)
    yield from in_company(overrides, NAME)


def lacking_memory(library: ctypes.CDLL) -> dict[str, object]:
    """A study's networks where half a stack fits: what is said, and whether the numbers are those of other stacks."""
    own = jobs([*WINE, "trainer.execution=stacked"], NAME, range(24))
    wanted = [bits(record) for record in run_jobs(own)]
    free = library.second_device_free()
    library.second_device_has(3_000_000)
    notes.clear()
    found = [bits(record) for record in run_jobs(own)]
    library.second_device_has(free)
    return {"notes": list(notes), "same": found == wanted}


def main(path: str) -> None:
    library = load(path)
    own = jobs([*WINE, "search.batch=24"], NAME)
    choice = choice_of(own[0])
    found = {
        "refused": refused(),
        "cases": {name: dict(same(overrides)) for name, overrides in CASES.items()},
        "name": device_name(NAME),
        "workers": workers_of(own[0].config),
        "mode": choice.mode,
        "slots": choice_of(jobs([*WINE, "trainer.execution=stacked"], NAME)[0]).stack_size,
        "many": choice_of(jobs([*WINE, "trainer.execution=stacked", "search.batch=300"], NAME)[0]).stack_size,
        "verdicts": [v.score for v in verdicts(own)] == [v.score for v in verdicts(jobs(WINE, "cpu"))],
        "data": str(setup(Structure.of(own[0]))[0].x_train.device),
        "held": str(load_dataset(own[0].config).x_train.device),
        "memory": lacking_memory(library),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
