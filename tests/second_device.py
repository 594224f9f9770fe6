"""Trains on ``second_device.cpp``, in a process of its own, and prints what came of it as JSON.

Everything that the lab does on a GPU but the GPU's own arithmetic: where tensors lie, how
stacks are filled up, what is measured where, and what happens when memory runs out.
"""

import ctypes
import gc
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import torch
from company import CASES, SEEDS, SLOTS, agree, bits, in_company, jobs, probes_of, trained
from test_flow import run, summary

from pipeline import parts, runner
from pipeline.device import device_name
from pipeline.loading import load_dataset
from pipeline.modes import notes
from pipeline.parts import Part, Trainer, _smaller, choice_of, kept_as, sharing_cores, workers_of
from pipeline.paused import Paused
from pipeline.pool import run_jobs
from pipeline.records import MemberRecord
from pipeline.runner import Structure, setup, verdicts

NAME = "second"
HAS = 8 * 10**9
# Bytes for a stack that don't hold one of 64 networks.
ROOM = 2_000_000
# What the device rounds by, besides the numbers.
NOTHING, SIZE, PLACE = range(3)


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


def same(case: str, library: ctypes.CDLL) -> Iterator[tuple[str, bool]]:
    """Whether it is what the CPU computes, and in any company the same where a stack's size decides bits."""
    with probes_of(case):
        for mode in ("stacked", "loop"):
            pairs = zip(trained(case, NAME, mode), trained(case, "cpu", mode), strict=True)
            yield mode, all(agree(*pair) for pair in pairs)
        library.second_device_rounds_by(SIZE)
        yield from in_company(case, NAME)
        pairs = zip(*(trained(case, NAME, "stacked", slots, SEEDS[:3]) for slots in (SLOTS, SLOTS // 2)), strict=True)
        yield "otherwise in another size", not any(bits(a) == bits(b) for a, b in pairs)
        library.second_device_rounds_by(NOTHING)


def one_by_one(library: ctypes.CDLL) -> dict[str, bool]:
    """Whether networks are the same in any company where their place in a stack decides how they are rounded."""
    library.second_device_rounds_by(PLACE)
    own = jobs("dropout", NAME, "trainer.execution=stacked")  # no other does so with this network
    together, alone = list(map(bits, run_jobs(own))), list(map(bits, run_jobs(own[3:4])))
    trainer = Trainer(lambda _: None, lambda: None)
    begun = [part for part in trainer.train(Part(own, 1, last=False)) if isinstance(part, Paused)]
    ended = trainer.train(Part([own[3], own[1]], start=[begun[3], begun[1]]))
    library.second_device_rounds_by(NOTHING)
    found = [bits(record) for record in ended if isinstance(record, MemberRecord)]
    return {
        "alone": alone == together[3:4],
        "from a pause": found == [together[3], together[1]],
        "with other bits": together != list(map(bits, run_jobs(own))),
    }


def short_of_memory(library: ctypes.CDLL) -> dict[str, object]:
    """Networks of which no whole stack fits, from their start and from a pause: what is said, and their numbers."""
    own = jobs("plain", NAME, "trainer.execution=stacked", seeds=range(24))
    wanted = list(map(bits, run_jobs(own)))
    trainer, free = Trainer(lambda _: None, lambda: None), library.second_device_free()
    said, found = [], []
    gc.collect()  # so that nothing that holds memory goes meanwhile
    for start in ((), [part for part in trainer.train(Part(own, 1, last=False)) if isinstance(part, Paused)]):
        _smaller.clear()
        notes.clear()
        library.second_device_has(library.second_device_used() + ROOM)
        found.append([bits(part) for part in trainer.train(Part(own, start=start)) if isinstance(part, MemberRecord)])
        library.second_device_has(free)
        said.append(list(notes))
    return {"notes": said, "same": [records == wanted for records in found]}


def short_of_memory_from_the_first(library: ctypes.CDLL) -> dict[str, object]:
    """A study's stack size where the first trial of it finds that it doesn't fit, then with all the memory again."""
    own, free = jobs("adam", NAME), library.second_device_free()
    notes.clear()
    gc.collect()
    library.second_device_has(library.second_device_used() + ROOM)
    first = choice_of(own[0])
    library.second_device_has(free)
    kept = kept_as(own[0], first)
    return {"notes": list(notes), "kept": kept, "later": kept_as(own[0], choice_of(own[0], kept))}


def studies(folder: Path, library: ctypes.CDLL) -> dict[str, object]:
    """Whether a study with pruning is the same whatever its stacks hold, and under other settings from a pause on."""
    library.second_device_rounds_by(SIZE)

    def told(name: str, *overrides: str) -> tuple[object, dict[int, list[str]]]:
        search, records = run(folder / name, "device=auto", "search.pruner=halving", *overrides)
        modes.append(list(search.modes.values()))
        return summary(search), {number: list(map(bits, r.members)) for number, r in records.items()}

    modes: list[list[str]] = []
    whole = told("a", "trainer.workers=1")
    found = {
        "three workers": told("b", "trainer.workers=3") == whole,
        "another size": told("c", "trainer.stack_size=12")[1] == whole[1],
    }
    begun = told("d", "search.n_trials=5")
    rest = told("d", "trainer.stack_size=12", "trainer.max_memory_gb=0.001")
    found["gone on with"] = (rest[0], begun[1] | rest[1]) == whole
    library.second_device_rounds_by(NOTHING)
    return {"same": found, "kept": modes}


def main(path: str, folder: str) -> None:
    library = load(path)
    for module in (parts, runner):  # a configuration can't name this device
        module.resolve_device = lambda device: NAME if device == "auto" else device  # type: ignore[attr-defined]
    own = jobs("plain", NAME)
    many = "search.batch=300"
    sizes = ([], [many], [many, "launcher.workers=4"], ["trainer.stack_size=40"], ["trainer.max_memory_gb=0.003"])
    found = {
        "refused": refused(),
        "cases": {case: dict(same(case, library)) for case in CASES},
        "one by one": one_by_one(library),
        "name": device_name(NAME),
        "workers": workers_of(own[0].config),
        "shares": sharing_cores(own[0].config, 2),
        "auto": [asdict(choice_of(jobs("plain", NAME, *more)[0])) for more in sizes],
        "sizes": [choice_of(jobs("plain", NAME, "trainer.execution=stacked", *more)[0]).stack_size for more in sizes],
        "notes": list(notes),
        "kept": [asdict(choice_of(jobs("plain", NAME, *more)[0], "stacked 48")) for more in sizes],
        "verdicts": [v.score for v in verdicts(own)] == [v.score for v in verdicts(jobs("plain", "cpu"))],
        "data": str(setup(Structure.of(own[0]))[0].x_train.device),
        "held": str(load_dataset(own[0].config).x_train.device),
        "memory": short_of_memory(library),
        "begun short of memory": short_of_memory_from_the_first(library),
        "studies": studies(Path(folder), library),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
