"""Trains on ``second_device.cpp``, in a process of its own, and prints what came of it as JSON.

Everything that the lab does on a GPU but the GPU's own arithmetic: where tensors lie, how
stacks are filled up, what is measured where, and what happens when memory runs out.
"""

import ctypes
import gc
import json
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from company import CASES, SEEDS, SLOTS, agree, bits, in_company, jobs, probes_of, trained
from sqlalchemy.exc import SADeprecationWarning
from test_flow import run, summary

from pipeline import modes, parts, pool, runner
from pipeline.config import compose
from pipeline.device import GPU_SETTINGS, device_name
from pipeline.errors import RunError
from pipeline.loading import load_dataset
from pipeline.notes import notes
from pipeline.parts import Part, Trainer, _smaller, choice_of, kept_as, sharing_cores, workers_of
from pipeline.paused import Paused
from pipeline.pool import run_jobs
from pipeline.probes.numeric import on_cpu
from pipeline.records import MemberRecord
from pipeline.runner import Job, Structure, setup, verdicts
from pipeline.verbs.sweep import sweep

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


def a_sweep(folder: Path) -> dict[str, object]:
    """The whole command, and whether a GPU was set as it should be whenever something was trained, and tried."""
    found: list[bool] = []

    def noted(call: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any) -> Any:
            found.append(all(getattr(of, name) == value for of, name, value in GPU_SETTINGS))
            return call(*args)

        return noting

    keys = ["dataset=wine", "trainer.epochs=2", "search.n_trials=6", "search.confirm=2", "model.width=8", "device=auto"]
    with (
        patch.object(Trainer, "_train", noted(Trainer._train)),
        patch.object(modes, "_time", noted(modes._time)),
        redirect_stdout(StringIO()) as said,
    ):
        code = sweep(compose([*keys, f"tracking.dir={folder}/mlruns"]))
    return {"exit code": code, "settings": found, "said": said.getvalue()}


def decomposed() -> list[int]:
    """How many matrices of three and copies of the first are decomposed, and whether all have their values."""
    counts = []

    def counted(matrices: torch.Tensor) -> torch.Tensor:
        counts.append(len(matrices))
        return torch.linalg.svdvals(matrices)

    matrices = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    filled = torch.cat([matrices, matrices[:1].expand(5, 4, 5)])
    same = torch.equal(on_cpu(counted, filled.to(NAME)).cpu(), torch.linalg.svdvals(filled))
    return [*counts, int(same)]


def refusal(job: Job, kept: str) -> str:
    """What is said of a study that was begun so and can't be gone on with here."""
    try:
        return str(choice_of(job, kept))
    except RunError as error:
        return str(error)


def studies(folder: Path, library: ctypes.CDLL) -> dict[str, object]:
    """Whether a study with pruning is the same whatever its stacks hold, and under other settings from a pause on."""
    library.second_device_rounds_by(SIZE)

    def told(name: str, *overrides: str) -> tuple[object, dict[int, list[str]]]:
        search, records = run(folder / name, "device=auto", "search.pruner=halving", *overrides)
        kept.append(list(search.modes.values()))
        return summary(search), {number: list(map(bits, r.members)) for number, r in records.items()}

    kept: list[list[str]] = []
    whole = told("a", "trainer.workers=1")
    found = {
        "three workers": told("b", "trainer.workers=3") == whole,
        "another size": told("c", "trainer.stack_size=12")[1] == whole[1],
    }
    begun = told("d", "search.n_trials=5")
    rest = told("d", "trainer.stack_size=12", "trainer.max_memory_gb=0.001")
    found["gone on with"] = (rest[0], begun[1] | rest[1]) == whole
    library.second_device_rounds_by(NOTHING)
    return {"same": found, "kept": kept}


def main(path: str, folder: str) -> None:
    library = load(path)
    warnings.filterwarnings("ignore", category=SADeprecationWarning)  # MLflow's own use of SQLAlchemy
    for module in (parts, pool, runner):  # a configuration can't name this device
        module.resolve_device = lambda device: NAME if device == "auto" else device  # type: ignore[attr-defined]
    own = jobs("plain", NAME)
    elsewhere = [refusal(own[0], "stacked"), refusal(jobs("plain", "cpu")[0], "stacked 64")]
    many = ["search.batch=300", "search.n_trials=900"]
    sizes = (
        *([], many, [*many, "launcher.workers=4"], [*many, "search.n_trials=10"], ["trainer.stack_size=40"]),
        *(["trainer.max_memory_gb=0.003"], ["trainer.max_memory_gb=0.006", "trainer.workers=2"]),
    )
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
        "elsewhere": elsewhere,
        "verdicts": [v.score for v in verdicts(own)] == [v.score for v in verdicts(jobs("plain", "cpu"))],
        "data": str(setup(Structure.of(own[0]))[0].x_train.device),
        "held": str(load_dataset(own[0].config).x_train.device),
        "memory": short_of_memory(library),
        "begun short of memory": short_of_memory_from_the_first(library),
        "studies": studies(Path(folder), library),
        "sweep": a_sweep(Path(folder)),
        "decomposed": decomposed(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
