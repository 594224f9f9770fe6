"""The choice of an execution mode: forced, measured, remembered, and what stands in its way."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from conftest import run_command
from torch import nn

from pipeline import modes
from pipeline.errors import UsageError
from pipeline.execution import MODES
from pipeline.init import InitSpec
from pipeline.models import MLP
from pipeline.native import NoCompilerError, build
from pipeline.notes import notes
from pipeline.plan import Member, Plan

MEMBERS = [Member(0, InitSpec())]
PLAN = Plan(batch_size=16)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("INITLAB_CACHE", str(tmp_path / "cache"))
    build.library.cache_clear()
    notes.clear()
    yield tmp_path / "cache"
    build.library.cache_clear()


@pytest.fixture
def wine(wine64):
    return wine64.to("cpu", torch.float32)


def choose(module, data, forced="auto", plan=PLAN, steps=100.0):
    return modes.choose(forced, module, data, MEMBERS, plan, steps)


def test_auto_takes_the_fastest_and_remembers_its_figures(own_cache, wine):
    module = MLP((13,), 3, 2, 16)
    found = choose(module, wine, steps=1e9)
    (entry,) = json.loads((own_cache / "execution.json").read_text()).values()
    times = entry["us_per_member_step"]
    assert {name.split()[0] for name in times} == {"native", "stacked", "loop"}
    assert times[f"{found.mode} {found.stack_size}"] * 0.95 <= min(times.values())
    assert entry["parameters"]["layers.1.weight"] == [16, 13]


def test_what_is_remembered_is_believed_and_a_spoilt_file_measured_anew(own_cache, wine):
    module = MLP((13,), 3, 2, 16)
    choose(module, wine)
    path = own_cache / "execution.json"
    known = json.loads(path.read_text())
    for entry in known.values():
        entry["us_per_member_step"] |= {"loop 1": 0.001}
    path.write_text(json.dumps(known))
    assert choose(module, wine).mode == "loop"
    path.write_text("{")
    assert choose(module, wine).mode in MODES
    assert json.loads(path.read_text())


def test_what_could_save_less_than_it_takes_is_not_tried(own_cache, wine):
    """Trying the modes of torch's takes a second; a later, longer study tries them after all."""
    module = MLP((13,), 3, 2, 16)

    def tried():
        (entry,) = json.loads((own_cache / "execution.json").read_text()).values()
        return {name.split()[0] for name in entry["us_per_member_step"]}

    assert choose(module, wine, steps=100.0).mode == "native"
    assert tried() == {"native"}
    choose(module, wine, steps=1e9)
    assert tried() == {"native", "stacked", "loop"}
    choose(MLP((13,), 3, 2, 16, dropout=0.1), wine, steps=100.0)  # which the kernels can't train
    assert len(json.loads((own_cache / "execution.json").read_text())) == 2


def test_nearly_equal_modes_go_by_their_order():
    times = {"native 32": 10.0, "stacked 8": 9.6, "stacked 32": 9.8, "loop 1": 20.0}
    assert modes._best(times, MODES).mode == "native"
    assert modes._best(times | {"stacked 32": 9.0}, MODES) == modes.Choice("stacked", 32)
    assert modes._best(times, ["loop"]).mode == "loop"


@pytest.mark.parametrize(
    ("module", "plan", "reason"),
    [
        (MLP((13,), 3), Plan(dtype="float64"), "float32"),
        (MLP((13,), 3, dropout=0.1), PLAN, "dropout"),
        (nn.Sequential(nn.Linear(13, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3)), PLAN, "MLPs only"),
        (nn.Sequential(nn.Linear(13, 4), nn.ELU(), nn.Linear(4, 3)), PLAN, "MLPs only"),
    ],
)
def test_native_says_what_it_cannot_train(module, plan, reason, wine):
    data = wine.to("cpu", plan.torch_dtype)
    with pytest.raises(UsageError, match=f"trainer.execution=native: can't train this network.*{reason}"):
        choose(module.to(plan.torch_dtype), data, "native", plan)
    assert choose(module, data, "auto", plan).mode in ("stacked", "loop")


@pytest.mark.parametrize("mode", ["stacked", "loop"])
def test_a_forced_mode_is_taken(mode, wine):
    assert choose(MLP((13,), 3), wine, mode).mode == mode


def test_without_a_compiler_native_steps_aside_with_one_line(wine, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(NoCompilerError, match="no C"):
        build.library()
    for forced in ("auto", "native", "auto"):
        assert choose(MLP((13,), 3), wine, forced).mode in ("stacked", "loop")
    (line,) = notes
    assert "no C++ compiler" in line


def test_a_compiler_that_fails_is_named(monkeypatch, tmp_path):
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'x.cpp:1: error: no such thing' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("CXX", str(broken))
    with pytest.raises(NoCompilerError, match="no such thing"):
        build.library()


def test_the_library_is_compiled_once_and_whole_for_several_processes(own_cache):
    code = "from pipeline.native import library; library(); print('ok')"
    several = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=dict(os.environ)) for _ in range(3)
    ]
    assert all(p.communicate()[0].strip() == b"ok" for p in several)
    assert [p.suffix for p in own_cache.iterdir()] == [".so"]


def test_nothing_is_chosen_by_other_streams(wine):
    """Choosing trains on copies: torch's own generator is where it was."""
    module = MLP((13,), 3)
    before = torch.get_rng_state()
    choose(module, wine)
    assert torch.equal(before, torch.get_rng_state())


def test_kernels_are_compiled_ahead(own_cache):
    build.build_ahead()
    assert build.library() is not None  # waits for it
    assert len(list(own_cache.glob("kernels-*.so"))) == 1
    build.stop_building()


def test_a_build_that_nobody_needs_ends_and_leaves_nothing(own_cache):
    build.build_ahead()
    deadline = time.monotonic() + 30
    while not list(own_cache.glob("*/mlp.cpp")) and time.monotonic() < deadline:
        time.sleep(0.01)
    build.stop_building()
    assert list(own_cache.iterdir()) == []
    assert build.library() is not None  # and can be made after all


def test_a_mistake_does_not_wait_for_the_compiler(own_cache):
    command = [sys.executable, "-m", "pipeline", "sweep", "weight_init.scale=many"]
    found = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert (found.returncode, found.stderr.count("\n")) == (2, 1)
    # All of the library, if that was done before the mistake was found, or nothing.
    assert {path.suffix for path in own_cache.glob("*")} <= {".so"}


@pytest.mark.slow
def test_where_torch_compiles_nothing_the_compiled_mode_steps_aside_with_one_line(tmp_path):
    """A compiler that is there, and fails: which shows as the mode is tried."""
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\necho 'x.cpp:1: error: no such thing' >&2\nexit 1\n")
    broken.chmod(0o755)
    code = """
import torch
from pipeline import modes
from pipeline.config import compose
from pipeline.notes import notes
from pipeline.parts import choice_of
from pipeline.runner import Job
modes.WORTH_COMPILING_S = 0.0
config = compose(["dataset=wine", "trainer.dtype=float64", "trainer.batch_size=16"])
print(choice_of(Job(config, 0)).mode, notes)
"""
    env = os.environ | {"CXX": str(broken), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    mode, said = done.stdout.split(" ", 1)
    assert mode in ("stacked", "loop")
    assert "without the compiled mode, which failed (InvalidCxxCompiler: No working C++ compiler" in said


def test_a_compiled_mode_that_was_asked_for_and_fails_says_so_in_a_line(tmp_path):
    broken = tmp_path / "c++"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    keys = ["dataset=wine", "trainer.batch_size=16", "trainer.epochs=1", "trainer.execution=compiled"]
    own = {"CXX": str(broken), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor")}
    done = run_command("train", *keys, cwd=tmp_path, **own)
    assert done.returncode == 1
    assert done.stderr.startswith("initlab: trainer.execution=compiled: torch's compiler failed: InvalidCxxCompiler")
    assert done.stderr.count("\n") == 1
