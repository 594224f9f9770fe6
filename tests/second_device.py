"""Trains on ``second_device.cpp``, in a process of its own, and prints what came of it as JSON.

Everything that the lab does on a GPU but the GPU's own arithmetic: where tensors lie, how
stacks are filled up, what is measured where, and what happens when memory runs out.
"""

import ctypes
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from test_flow import run, summary

from pipeline import parts, runner
from pipeline.config import compose
from pipeline.device import device_name, reproducible
from pipeline.loading import load_dataset
from pipeline.modes import notes
from pipeline.parts import Part, Trainer, _smaller, choice_of, workers_of
from pipeline.paused import Paused
from pipeline.pool import run_jobs
from pipeline.records import MemberRecord
from pipeline.runner import Job, Structure, member_of, setup, verdicts
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
    "one diverges": [*WINE, "model.activation=relu"],
    "few probes": [*WINE, "probes.only=[signal/update_ratio]"],
    "cnn": ["trainer.batch_size=32", "model=cnn", "trainer.epochs=2", "dataset.train_limit=64", "probes=full"],
}
ASTRAY = ("one diverges", 1)
SEEDS = (0, 1, 2, 3, 4)
HAS = 8 * 10**9
# Bytes for a stack that don't hold one of 64 networks.
ROOM = 2_000_000


def load(path: str) -> ctypes.CDLL:
    torch.ops.load_library(path)
    library = ctypes.CDLL(path)
    library.second_device_has.argtypes = [ctypes.c_size_t]
    library.second_device_free.restype = library.second_device_used.restype = ctypes.c_size_t
    torch.utils.rename_privateuse1_backend(NAME)
    module = SimpleNamespace(
        is_available=lambda: True,
        device_count=lambda: 1,
        _is_in_bad_fork=lambda: False,
        manual_seed_all=lambda _: None,
        current_device=lambda: 0,
        get_device_name=lambda: "the second device",
        mem_get_info=lambda: (library.second_device_free(), HAS),
    )
    torch._register_device_module(NAME, module)
    return library


def jobs(case: str, device: str, *more: str, seeds: Sequence[int] = SEEDS) -> list[Job]:
    configs = [compose([*CASES[case], *more, *["optimizer.lr=1e30"] * ((case, seed) == ASTRAY)]) for seed in seeds]
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
    found = [[record.init | record.final, *(look.values for look in record.looks)] for record in (a, b)]
    values = [[*own[0].values(), *chain.from_iterable(own[1:])] for own in found]
    keys = (a.final.keys(), a.failed.keys(), a.diverged_step) == (b.final.keys(), b.failed.keys(), b.diverged_step)
    return same and keys and np.allclose(*values, rtol=1e-12, atol=0, equal_nan=True)


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


def in_company(case: str, device: str, mode: str = "stacked") -> Iterator[tuple[str, bool]]:
    """Whether a network is to the last bit the same in other company, in a stack that is filled up with copies."""
    together = trained(case, device, mode, slots=8)
    losses = [[record.final["val/loss"] for record in part] for part in (together, trained(case, "cpu", "stacked"))]
    yield "about as on the CPU", np.allclose(*losses, rtol=1e-3, equal_nan=True)
    yield "again", list(map(bits, trained(case, device, mode, slots=8))) == list(map(bits, together))
    (alone,) = trained(case, device, mode, slots=8, seeds=SEEDS[2:3])
    yield "alone", bits(alone) == bits(together[2])
    yield "paused", list(map(bits, paused(case, device, mode, slots=8))) == [bits(together[3]), bits(together[1])]
    yield "diverged", [r.seed for r in together if r.diverged_step is not None] == [1] * (case == ASTRAY[0])


def same(case: str) -> Iterator[tuple[str, bool]]:
    """Whether it is what the CPU computes, and as above."""
    for mode in ("stacked", "loop"):
        pairs = zip(trained(case, NAME, mode), trained(case, "cpu", mode), strict=True)
        yield mode, all(agree(*pair) for pair in pairs)
    yield from in_company(case, NAME)


def short_of_memory(library: ctypes.CDLL) -> dict[str, object]:
    """Networks of which no whole stack fits, from their start and from a pause: what is said, and their numbers."""
    own = jobs("plain", NAME, "trainer.execution=stacked", seeds=range(24))
    wanted = list(map(bits, run_jobs(own)))
    trainer, free = Trainer(lambda _: None, lambda: None), library.second_device_free()
    said, found = [], []
    for start in ((), [part for part in trainer.train(Part(own, 1, last=False)) if isinstance(part, Paused)]):
        _smaller.clear()
        notes.clear()
        library.second_device_has(library.second_device_used() + ROOM)
        found.append([bits(part) for part in trainer.train(Part(own, start=start)) if isinstance(part, MemberRecord)])
        library.second_device_has(free)
        said.append(list(notes))
    return {"notes": said, "same": [records == wanted for records in found]}


def studies(folder: Path) -> list[bool]:
    """Whether a study with pruning is the same whatever its stacks hold."""
    told = []
    for name, workers in (("a", 1), ("b", 3)):
        search, records = run(folder / name, "device=auto", "search.pruner=halving", f"trainer.workers={workers}")
        told.append((summary(search), {number: list(map(bits, r.members)) for number, r in records.items()}))
    return [told[0][0] == told[1][0], told[0][1] == told[1][1]]


def main(path: str, folder: str) -> None:
    library = load(path)
    for module in (parts, runner):  # a configuration can't name this device
        module.resolve_device = lambda device: NAME if device == "auto" else device  # type: ignore[attr-defined]
    own = jobs("plain", NAME)
    sizes = ([], ["search.batch=300"], ["trainer.stack_size=40"], ["trainer.max_memory_gb=0.003"])
    found = {
        "refused": refused(),
        "cases": {case: dict(same(case)) for case in CASES},
        "name": device_name(NAME),
        "workers": workers_of(own[0].config),
        "auto": [asdict(choice_of(jobs("plain", NAME, *more)[0])) for more in sizes],
        "kept": [asdict(choice_of(jobs("plain", NAME, *more)[0], "stacked")) for more in sizes],
        "verdicts": [v.score for v in verdicts(own)] == [v.score for v in verdicts(jobs("plain", "cpu"))],
        "data": str(setup(Structure.of(own[0]))[0].x_train.device),
        "held": str(load_dataset(own[0].config).x_train.device),
        "memory": short_of_memory(library),
        "studies": studies(Path(folder)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
