"""What the README says is tried: every command runs, every path is there."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from conftest import ROOT
from mlflow.tracking import MlflowClient

README = (ROOT / "README.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    for line in block.splitlines()
    if line and not line.startswith("#")
]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of what git tracks, with this checkout's .venv."""
    if not (ROOT / ".venv" / ".ready").exists():
        pytest.skip("needs .venv as make sets it up")
    folder = tmp_path_factory.mktemp("checkout")
    tracked = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in tracked.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / ".venv").symlink_to(ROOT / ".venv")
    set_up = (ROOT / ".venv" / ".ready").stat().st_mtime - 10
    for name in ("pyproject.toml", "requirements.lock"):  # newer, they would have make install the copy into it
        os.utime(folder / name, (set_up, set_up))
    yield folder
    assert str(folder) not in installed()


def installed() -> str:
    """Where the .venv has the package from."""
    return "".join(path.read_text() for path in (ROOT / ".venv").glob("lib/*/site-packages/*initlab*.pth"))


def shell(command: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "ARGS", "MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        command, shell=True, cwd=cwd, env=clean | environment, capture_output=True, text=True, timeout=900, check=False
    )


PEAK = """
import resource, subprocess, sys
code = subprocess.call(["make", "sweep"])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, "KiB at most", file=sys.stderr)
sys.exit(code)
"""


def test_the_commands_are_these():
    assert COMMANDS[:3] == ["make sweep", "make test", "make ui"]
    assert len(COMMANDS) == 9


def test_make_sweep_runs_the_default_study(checkout):
    started = time.monotonic()
    # RUSAGE_CHILDREN of this process would know of other tests' children too.
    done = shell(f"{sys.executable} -c '{PEAK}'", checkout)
    wall = time.monotonic() - started
    assert done.returncode == 0, done.stderr
    client = MlflowClient(f"sqlite:///{checkout}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("initlab").experiment_id
    (parent,) = client.search_runs([experiment], "tags.`initlab.kind` = 'study'")
    children = client.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'")
    assert [c.info.status for c in children] == ["FINISHED"] * 96
    last = done.stdout.splitlines()[-1]
    assert (checkout / last).is_file()
    peak = int(re.search(r"(\d+) KiB at most", done.stderr)[1]) / 1024**2
    print(f"\nthe default study: {wall:.0f} s, at most {peak:.2f} GB")
    assert peak < 1.5
    # The shape of what the README shows, whatever the last digit is on this machine.
    shown = re.search(r"```text\n(init .*?)```", README, re.DOTALL)
    assert shown is not None
    head, kept = shown[1].splitlines()[0], done.stdout.splitlines()
    assert head in kept
    assert len(kept[kept.index(head) :]) - len(shown[1].splitlines()) in (-1, 0, 1)


def test_make_test_runs_the_tests(checkout):
    done = shell("make test", checkout, ARGS=str(ROOT / "tests" / "test_activations.py"))
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_make_ui_serves_the_ui(checkout):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MAKELEVEL")}
    process = subprocess.Popen(
        ["make", "ui"], cwd=checkout, env=environment | {"ARGS": f"tracking.port={port}"}, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        page = answer(f"http://127.0.0.1:{port}/")
        assert b"<title>MLflow</title>" in page
    finally:
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert re.search(
        rf"  digits-\w+: http://127\.0\.0\.1:{port}/#/experiments/\d+/runs\?viewStateShareKey=digits-\w+", said.decode()
    )


def answer(url: str) -> bytes:
    for _ in range(120):
        try:
            with urlopen(url, timeout=5) as response:
                return response.read()
        except OSError:
            time.sleep(0.5)
    return pytest.fail(f"{url} did not answer within a minute")


@pytest.mark.parametrize("command", COMMANDS[3:])
def test_the_other_commands(command, checkout):
    done = shell(command, checkout)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_make_again_is_quick(checkout):
    started = time.monotonic()
    assert shell("make install", checkout).returncode == 0
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("path", re.findall(r"\]\(((?!http)[^)]+)\)|^  ?([\w/.]+)  ", README, re.MULTILINE))
def test_paths_are_there(path):
    name = path[0] or path[1]
    assert (ROOT / name).exists() or (ROOT / "pipeline" / name).exists()


def test_overrides_in_the_table_compose():
    from pipeline.config import compose

    table = "\n".join(line for line in README.splitlines() if line.startswith("| the"))
    for code in re.findall(r"`([^`]*)`", table):
        overrides = [o.strip("'") for o in re.findall(r"'[^']*'|\S+", code) if "=" in o and "..." not in o]
        if overrides:
            compose(overrides)
