"""Training on a device that isn't the CPU, which torch is given here (``second_device.py``); on a GPU: test_cuda.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from company import CASES

from pipeline.device import GPU_SETTINGS, reproducible

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
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | {"INITLAB_CACHE": str(folder / "cache"), "PYTHONPATH": str(HERE.parent)},
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def settings():
    return [getattr(of, name) for of, name, _ in GPU_SETTINGS]


def test_what_a_gpu_is_set_to_is_set_for_trainings_on_one_alone():
    before, wanted = settings(), [value for _, _, value in GPU_SETTINGS]
    assert before != wanted
    with reproducible("cuda"):
        assert settings() == wanted
    with reproducible("cpu"):
        assert settings() == before
    assert settings() == before
    with torch.backends.cudnn.flags(enabled=True):  # which torch refuses where its older and newer settings disagree
        pass


def test_the_device_refuses_tensors_of_the_cpu(seen):
    assert len(seen["refused"]) == 5
    assert all("the same device" in message for message in seen["refused"])


@pytest.mark.parametrize("case", CASES)
def test_a_training_there_is_that_on_the_cpu(seen, case):
    assert seen["cases"][case]["stacked"] is True
    assert seen["cases"][case]["loop"] is True


@pytest.mark.parametrize("case", CASES)
def test_where_the_size_of_a_stack_decides_bits_its_company_does_not(seen, case):
    asked = ["about as on the CPU", "again", "number 1 alone", "number 2 alone", "paused", "diverged", "failed"]
    assert {name: seen["cases"][case][name] for name in asked} == dict.fromkeys(asked, True)
    assert seen["cases"][case]["otherwise in another size"] is True


def test_where_the_place_in_it_does_networks_are_trained_one_by_one(seen):
    assert seen["one by one"] == {"alone": True, "from a pause": True, "with other bits": True}


def test_the_data_lie_there_and_the_verdict_is_that_of_the_cpu(seen):
    assert seen["data"] == "second:0"
    assert seen["held"] == "cpu"
    assert seen["verdicts"] is True
    assert seen["name"] == "the second device"


def test_one_worker_fills_stacks_of_what_a_study_has_under_way(seen):
    assert seen["workers"] == 1
    assert seen["shares"] == []
    assert seen["sizes"][:5] == [64, 512, 128, 16, 40]  # of 12, 150, 38 and 5 trials x 3 replicates
    assert seen["sizes"][5] == seen["sizes"][6] < 64  # for want of memory, which two workers share
    assert seen["notes"][0] == f"no room for 64 networks in a stack; going on with {seen['sizes'][5]}"


def test_what_was_measured_of_other_stacks_changes_no_size(seen):
    for found, size in zip(seen["auto"], seen["sizes"], strict=True):
        assert found in ({"mode": "stacked", "stack_size": size}, {"mode": "loop", "stack_size": 1})


def test_what_a_study_was_begun_with_is_kept_under_any_settings(seen):
    assert seen["kept"] == [{"mode": "stacked", "stack_size": 48}] * 7


def test_a_study_that_was_begun_on_another_device_is_not_gone_on_with(seen):
    there = "and {} rounds otherwise: go on with it there, or anew"
    assert seen["elsewhere"] == [
        f"the study was begun on the CPU, {there.format('a GPU')}",
        f"the study was begun on a GPU, {there.format('the CPU')}",
    ]


def test_where_memory_runs_out_stacks_are_halved(seen):
    for notes in seen["memory"]["notes"]:
        assert notes[0] == "out of memory with 64 networks in a stack; going on with 32"
        assert all(note.startswith("out of memory with ") for note in notes)
    assert seen["memory"]["same"] == [True, True]


def test_a_study_keeps_what_fitted_when_it_was_begun(seen):
    assert seen["begun short of memory"]["notes"] == ["out of memory with 64 networks in a stack; going on with 32"]
    assert seen["begun short of memory"]["kept"] == seen["begun short of memory"]["later"] == "stacked 32"


def test_a_study_is_the_same_whatever_its_stacks_hold(seen):
    assert seen["studies"]["same"] == {"three workers": True, "gone on with": True, "another size": False}
    assert seen["studies"]["kept"] == [["stacked 8"], ["stacked 8"], ["stacked 12"], ["stacked 8"], ["stacked 8"]]


def test_a_sweep_trains_all_that_it_trains_under_the_settings_of_a_gpu(seen):
    assert seen["sweep"]["exit code"] == 0
    assert len(seen["sweep"]["settings"]) > 4
    assert all(seen["sweep"]["settings"])
    assert "winner on 2 fresh seeds" in seen["sweep"]["said"]


def test_copies_are_not_decomposed_again(seen):
    assert seen["decomposed"] == [3, True]
