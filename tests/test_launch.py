"""A sweep that has workers train: as processes of this host; with Slurm, tests/cluster has the rest."""

import re
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psutil
import pytest
from agreement import Agreement, agreement, journal, trials_of
from conftest import QUICK, ROOT, run_command

from pipeline.config import compose
from pipeline.errors import UsageError
from pipeline.launch.workers import last_words

TRIALS = 24
STUDY = [
    *QUICK,
    "study.name=led",
    "search=random",
    f"search.n_trials={TRIALS}",
    "trainer.epochs=800",
    "search.batch=12",
]
LED = [*STUDY, "launcher.workers=3"]
WHOLE = Agreement(0, 0, 0, 0)


def begin(home: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pipeline", "sweep", *LED, *more]
    return subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def workers_of(sweep: "subprocess.Popen[str]") -> list[psutil.Process]:
    return [child for child in psutil.Process(sweep.pid).children() if "worker" in child.cmdline()]


def under_way(sweep: "subprocess.Popen[str]", home: Path, owners: int) -> None:
    """Waits until so many workers have trials."""
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        try:
            trials = trials_of(journal(home, "led"), "led")
        except (KeyError, FileNotFoundError):
            trials = []
        if len({t.user_attrs["owner"] for t in trials if t.state.name == "RUNNING"}) >= owners:
            return
        time.sleep(0.05)
    sweep.kill()
    pytest.fail(f"the workers did not begin: {sweep.communicate()}")


@pytest.mark.slow
def test_one_of_four_workers_is_killed_and_the_study_is_whole(home, capsys):
    sweep = begin(home, "launcher.workers=4", "search.batch=6", "trainer.workers=1")
    under_way(sweep, home, 3)
    workers_of(sweep)[0].kill()
    out, errors = sweep.communicate(timeout=400)
    assert sweep.returncode == 0, errors
    assert errors == ""
    found = agreement(journal(home, "led"), "led", f"sqlite:///{home}/mlruns/mlflow.db", TRIALS)
    with capsys.disabled():
        print(f"\na journal file, 4 workers, one killed: {found}")
    assert found == WHOLE
    assert len(re.findall(r"^worker 0 was killed by signal 9: .* \(.*worker-0\.log\)$", out, re.MULTILINE)) == 1
    assert (home / out.splitlines()[-1]).is_file()


@pytest.mark.slow
def test_without_any_worker_left_it_says_so_and_the_same_command_goes_on(home):
    sweep = begin(home)
    under_way(sweep, home, 1)
    for worker in workers_of(sweep):
        worker.kill()
    _, errors = sweep.communicate(timeout=60)
    assert sweep.returncode == 1
    assert re.fullmatch(r"initlab: \d+ of 24 trials are left, and no worker; give the command again to go on\n", errors)
    done = run_command("sweep", *LED, cwd=home)
    assert done.returncode == 0, done.stderr
    assert agreement(journal(home, "led"), "led", f"sqlite:///{home}/mlruns/mlflow.db", TRIALS) == WHOLE


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_the_sweep_stops_its_workers(home, number, code):
    sweep = begin(home, "trainer.epochs=6000")
    under_way(sweep, home, 2)
    workers = workers_of(sweep)
    sweep.send_signal(number)
    _, errors = sweep.communicate(timeout=60)
    assert sweep.returncode == code
    assert errors.count("\n") == 1
    assert not any(worker.is_running() for worker in workers)
    assert not [t.number for t in trials_of(journal(home, "led"), "led") if t.state.name == "RUNNING"]


def test_slurm_is_asked_for_where_there_is_none(tmp_path):
    done = run_command("sweep", "launcher=slurm", cwd=tmp_path, PATH=str(tmp_path))
    assert done.returncode == 2
    missing = "there is no sbatch on this host" if find_spec("submitit") else "needs submitit, which is not installed"
    assert done.stderr.startswith(f"initlab: launcher=slurm: {missing}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "override",
    [
        "launcher.workers=-1",
        "launcher.workers=few",
        "launcher.partition=a b",
        "launcher.partition=a\nb",
        "launcher.timeout_min=0",
        "launcher.setup=ls",
        "+launcher.parameters.nice=[1]",
    ],
)
def test_what_no_launcher_takes(override):
    with pytest.raises(UsageError, match=r"^launcher\."):
        compose(["launcher=slurm", f"{override.partition('=')[0]}='{override.partition('=')[2]}'"
                 if " " in override or "\n" in override else override])  # fmt: skip


def test_last_words_are_the_lab_s_own_where_there_are_any(tmp_path):
    log = tmp_path / "x.log"
    assert last_words(log) == "nothing was written"
    log.write_text("study x\n\nstopped by the system\n")
    assert last_words(log) == "stopped by the system"
    log.write_text("study x\ninitlab: the disk is full\nsrun: error: n1: task 0: Exited with exit code 1\n")
    assert last_words(log) == "the disk is full"


def test_the_page_s_overrides_compose():
    page = (ROOT / "docs" / "cluster.md").read_text()
    found = re.findall(r'(?:initlab (?:sweep|worker) |make sweep ARGS=")([^"`\n]+=[^"`\n]+)', page)
    assert len(found) == 7
    for overrides in found:
        compose(overrides.removesuffix(" for").split())
