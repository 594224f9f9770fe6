"""The same code on a GPU; skipped, visibly, where there is none. What of it needs no GPU: test_device.py."""

import pytest
import torch
from company import CASES, WINE, in_company, probes_of, trained

from pipeline.config import compose
from pipeline.device import resolve_device
from pipeline.parts import choice_of
from pipeline.pool import run_jobs
from pipeline.runner import Job

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
SHORT = ["dataset=wine", "trainer.epochs=3", "trainer.batch_size=32", "model.width=16"]


def test_auto_takes_what_is_there():
    assert resolve_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")


@gpu
@pytest.mark.parametrize("mode", ["auto", "compiled", "stacked", "loop"])
@pytest.mark.parametrize("probes", ["standard", "full"])
def test_a_training_on_the_gpu_is_that_on_the_cpu(mode, probes):
    jobs = {
        d: [Job(compose([*SHORT, f"device={d}", f"probes={probes}", f"trainer.execution={mode}"]), s) for s in (0, 1)]
        for d in ("cpu", "cuda")
    }
    for here, there in zip(run_jobs(jobs["cpu"]), run_jobs(jobs["cuda"]), strict=True):
        assert there.final["val/loss"] == pytest.approx(here.final["val/loss"], rel=1e-2)
        assert there.final["redundancy/effective_rank"] == pytest.approx(
            here.final["redundancy/effective_rank"], rel=1e-2
        )


@gpu
@pytest.mark.parametrize("case", CASES)
def test_a_network_has_the_same_bits_in_any_company(case):
    with probes_of(case):
        found = dict(in_company(case, "cuda"))
    assert found == dict.fromkeys(found, True)


@gpu
@pytest.mark.slow
@pytest.mark.parametrize("case", ["plain", "adam", "dropout", "cnn"])
def test_so_it_has_in_a_compiled_stack(case):
    found = dict(in_company(case, "cuda", "compiled"))
    assert found == dict.fromkeys(found, True)


@gpu
@pytest.mark.parametrize("case", ["plain", "cnn"])
def test_the_plain_loop_comes_to_about_the_same(case):
    here, there = (trained(case, device, "loop") for device in ("cpu", "cuda"))
    for a, b in zip(here, there, strict=True):
        assert b.final["val/loss"] == pytest.approx(a.final["val/loss"], rel=1e-2)


@gpu
def test_the_gpu_trains_stacks_of_hundreds():
    stacked = [*WINE, "device=cuda", "trainer.execution=stacked", "search.batch=200", "search.n_trials=200"]
    jobs = [Job(compose(stacked), seed) for seed in range(300)]
    assert choice_of(jobs[0]).stack_size == 512
    assert len({record.final["train/loss"] for record in run_jobs(jobs)}) == 300
