"""Training on a device that isn't the CPU, which torch is given here (``second_device.py``); on a GPU: test_cuda.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from second_device import CASES

from pipeline.device import GPU_SETTINGS

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    folder = tmp_path_factory.mktemp("device")
    made, torch_folder = folder / "second_device.so", Path(torch.__file__).parent
    include = torch_folder / "include"
    flags = ["-std=c++20", "-O0", "-Wall", "-Werror", "-shared", "-fPIC"]
    headers = ["-isystem", include, "-isystem", include / "torch/csrc/api/include"]
    libraries = ["-L", torch_folder / "lib", "-ltorch", "-ltorch_cpu", "-lc10"]
    source = HERE / "second_device.cpp"
    subprocess.run([os.environ.get("CXX", "g++"), *flags, *headers, source, "-o", made, *libraries], check=True)
    run = subprocess.run(
        [sys.executable, "-W", "error", HERE / "second_device.py", made, folder / "studies"],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"INITLAB_CACHE": str(folder / "cache"), "PYTHONPATH": str(HERE.parent)},
    )
    return json.loads(run.stdout.splitlines()[-1])


def test_what_a_gpu_is_set_to_can_be_set_and_taken_back():
    before = [getattr(of, name) for of, name, _ in GPU_SETTINGS]
    for of, name, value in GPU_SETTINGS:
        setattr(of, name, value)
    found = [getattr(of, name) for of, name, _ in GPU_SETTINGS]
    for (of, name, _), value in zip(GPU_SETTINGS, before, strict=True):
        setattr(of, name, value)
    assert found == [value for _, _, value in GPU_SETTINGS]
    assert before == [getattr(of, name) for of, name, _ in GPU_SETTINGS]


def test_the_device_refuses_tensors_of_the_cpu(seen):
    assert len(seen["refused"]) == 5
    assert all("the same device" in message for message in seen["refused"])


@pytest.mark.parametrize("case", CASES)
def test_a_training_there_is_that_on_the_cpu_in_any_company(seen, case):
    asked = ("stacked", "loop", "about as on the CPU", "again", "alone", "paused", "diverged")
    assert seen["cases"][case] == dict.fromkeys(asked, True)


def test_the_data_lie_there_and_the_verdict_is_that_of_the_cpu(seen):
    assert seen["data"] == "second:0"
    assert seen["held"] == "cpu"
    assert seen["verdicts"] is True
    assert seen["name"] == "the second device"


def test_one_worker_fills_stacks_of_what_a_study_has_under_way(seen):
    assert seen["workers"] == 1
    assert [choice["stack_size"] for choice in seen["kept"][:3]] == [
        64,
        512,
        40,
    ]  # the first of 12 trials x 3 replicates
    assert seen["kept"][3]["stack_size"] < 64  # for want of memory


def test_what_was_measured_of_other_stacks_changes_no_size(seen):
    for found, kept in zip(seen["auto"], seen["kept"], strict=True):
        assert found == kept or found == {"mode": "loop", "stack_size": 1}


def test_where_memory_runs_out_stacks_are_halved(seen):
    for notes in seen["memory"]["notes"]:
        assert notes[0] == "out of memory with 64 networks in a stack; going on with 32"
        assert all(note.startswith("out of memory with ") for note in notes)
    assert seen["memory"]["same"] == [True, True]


def test_a_study_is_the_same_whatever_its_stacks_hold(seen):
    assert seen["studies"] == [True, True]
