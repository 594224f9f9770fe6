"""Training on a device that isn't the CPU, which torch is given here (``second_device.py``); on a GPU: test_cuda.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from second_device import CASES

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
        [sys.executable, "-W", "error", HERE / "second_device.py", made],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"INITLAB_CACHE": str(folder / "cache"), "PYTHONPATH": str(HERE.parent)},
    )
    return json.loads(run.stdout.splitlines()[-1])


def test_the_device_refuses_tensors_of_the_cpu(seen):
    assert len(seen["refused"]) == 5
    assert all("the same device" in message for message in seen["refused"])


@pytest.mark.parametrize("case", CASES)
def test_a_training_there_is_that_on_the_cpu_in_any_company(seen, case):
    assert seen["cases"][case] == dict.fromkeys(seen["cases"][case], True)
    assert {"stacked", "loop", "again", "alone"} <= set(seen["cases"][case])


def test_the_data_lie_there_and_the_verdict_is_that_of_the_cpu(seen):
    assert seen["data"] == "second:0"
    assert seen["held"] == "cpu"
    assert seen["verdicts"] is True
    assert seen["name"] == "the second device"


def test_one_worker_fills_stacks_of_what_a_study_has_under_way(seen):
    assert seen["workers"] == 1
    assert seen["mode"] in ("stacked", "loop")
    assert seen["slots"] == 64  # of 12 trials x 3 replicates
    assert seen["many"] == 512


def test_where_memory_runs_out_stacks_are_halved(seen):
    assert seen["memory"]["notes"]
    assert all(note.startswith("out of memory with ") for note in seen["memory"]["notes"])
    assert seen["memory"]["same"] is True
