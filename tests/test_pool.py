"""Trainings on several threads: the same numbers, halved stacks where memory runs out, errors and ends."""

import subprocess
import sys
import threading
import time
from functools import partial

import pytest
import torch

from pipeline import parts
from pipeline.config import compose
from pipeline.device import reproducible
from pipeline.errors import RunError
from pipeline.free import is_out_of_memory
from pipeline.memory import available_gb, member_bytes
from pipeline.notes import notes
from pipeline.parts import Part, Trainer, train_part
from pipeline.pool import Pool, run_jobs
from pipeline.runner import Job, Structure, setup

SHORT = ["dataset=wine", "trainer.epochs=2", "trainer.batch_size=32", "model.width=9"]


def jobs(*overrides, seeds=5):
    return [Job(compose([*SHORT, *overrides]), seed) for seed in range(seeds)]


def numbers(records):
    return [repr((r.final, r.init, r.curves, r.layers)) for r in records]


@pytest.mark.parametrize("mode", ["native", "stacked", "loop"])
def test_neither_workers_nor_stack_size_change_a_bit(mode):
    first = numbers(run_jobs(jobs(f"trainer.execution={mode}", "trainer.workers=1")))
    for others in (
        ["trainer.workers=3"],
        ["trainer.workers=2", "trainer.stack_size=1"],
        ["trainer.max_memory_gb=1e-5"],
    ):
        assert numbers(run_jobs(jobs(f"trainer.execution={mode}", *others))) == first


def test_jobs_of_several_structures_keep_their_order():
    mixed = [*jobs("model.depth=1", seeds=2), *jobs(seeds=3), *jobs("model.depth=1", "weight_init.scale=2", seeds=1)]
    found = run_jobs(mixed)
    assert [record.seed for record in found] == [0, 1, 0, 1, 2, 0]
    alone = [run_jobs([job])[0] for job in mixed]
    assert numbers(found) == numbers(alone)


def test_progress_is_told_on_the_calling_thread_and_grows():
    seen = []
    run_jobs(jobs("trainer.epochs=40"), lambda done: seen.append((done, threading.current_thread())))
    assert {thread for _, thread in seen} == {threading.main_thread()}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == 5


def test_leaving_the_pool_ends_what_runs():
    part, done = Part(jobs("trainer.epochs=1000000", seeds=1), 1_000_000), [0.0]
    with Pool(1) as running:
        future = running.submit(partial(train_part, part), partial(done.__setitem__, 0))
        while not done[0]:
            time.sleep(0.01)
    assert future.done()
    assert done[0] < 1_000_000


def test_stacks_are_halved_until_they_fit(monkeypatch):
    """Memory that runs out as torch and Python say it, at every stack of more than one."""
    monkeypatch.setattr(parts, "_smaller", {})
    part = Part(jobs(seeds=4), 2)
    with reproducible():
        trainer = Trainer(lambda _: None, lambda: None)
        train, sizes = trainer._train, []

        def short(part, size):
            sizes.append(size)
            if size > 1:
                raise MemoryError if len(sizes) == 1 else torch.OutOfMemoryError
            return train(part, size)

        trainer._train = short
        found = trainer.train(part)
        assert numbers(found) == numbers(run_jobs(jobs(seeds=4)))
        assert sizes == [4, 2, 1]
        trainer.train(part)
        assert sizes == [4, 2, 1, 1]
        trainer._train = lambda *_: (_ for _ in ()).throw(MemoryError)
        with pytest.raises(RunError, match="out of memory with a single network"):
            trainer.train(part)
    assert notes[-2:] == [f"out of memory with {n} networks in a stack; going on with {n // 2}" for n in (4, 2)]


LIMITED = """
import resource, sys
from pipeline.config import compose
from pipeline.notes import notes
from pipeline.pool import run_jobs
from pipeline.loading import load_dataset
from pipeline.runner import Job, check
config = compose(["model.width=700", "model.depth=3", "trainer.epochs=1", "trainer.execution=stacked", "probes=light",
                  "trainer.stack_size=16", "trainer.workers=1", "trainer.max_memory_gb=1000"])
check(config, load_dataset(config))
run_jobs([Job(config, 0)])
used = int(next(l for l in open("/proc/self/status") if l.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (used + int(0.7e9), resource.RLIM_INFINITY))
records = run_jobs([Job(config, seed) for seed in range(16)])
print(len(records), all(r.final["train/loss"] < 10 for r in records), *notes, sep="|")
"""


@pytest.mark.slow
def test_a_stack_that_does_not_fit_is_halved():
    """Under a real limit on the address space."""
    run = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    count, trained, *said = run.stdout.strip().splitlines()[-1].split("|")
    assert (count, trained) == ("16", "True")
    assert said
    assert "going on with" in said[0]


def test_members_with_ties_part_from_the_others():
    """To the numbers that each has alone, in the order of the jobs."""
    several = [
        job
        for scale in ("1.0", "0", "0.5")
        for job in jobs(f"weight_init.scale={scale}", "bias_init.value=0.1", seeds=2)
    ]
    together = run_jobs(several)
    assert [record.final["symmetry/broken_step"] for record in together] == [0, 0, -1, -1, 0, 0]
    assert numbers(together) == [number for job in several for number in numbers(run_jobs([job]))]


def test_what_is_out_of_memory():
    assert is_out_of_memory(MemoryError())
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50)
    assert is_out_of_memory(caught.value)
    assert not is_out_of_memory(RuntimeError("shapes don't match"))


def test_memory_is_counted():
    small, large = (setup(Structure.of(jobs(f"model.width={width}", seeds=1)[0])) for width in (8, 512))
    count = [member_bytes(module, data, plan) for data, module, plan in (small, large)]
    parameters = sum(p.numel() for p in large[1].parameters()) * 4
    assert count[1] > 4 * parameters
    assert count[1] > 20 * count[0]
    assert 0 < available_gb("cpu") < 1e6
