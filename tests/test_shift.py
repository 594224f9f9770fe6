"""Several workers at one study, as processes of their own."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
from agreement import Agreement, agreement, journal, trials_of
from conftest import QUICK, run_command

TRIALS = 24
STUDY = [
    *QUICK,
    "study.name=shared",
    "search=random",
    f"search.n_trials={TRIALS}",
    "search.batch=6",
    "search.enqueue=[]",
    "search.space.weight_init.scale.zero=false",
    "model.width=64",
    "trainer.epochs=300",
    "report.exemplars=false",
]
WHOLE = Agreement(0, 0, 0, 0)


def begin(verb: str, home: Path, *more: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "pipeline", verb, *STUDY, "trainer.workers=1", *more]
    return subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def running(home: Path) -> dict[str, int]:
    """How many trials each owner has."""
    try:
        trials = trials_of(journal(home, "shared"), "shared")
    except (KeyError, FileNotFoundError):
        return {}
    owners = [t.user_attrs["owner"] for t in trials if t.state.name == "RUNNING"]
    return {owner: owners.count(owner) for owner in owners}


@pytest.mark.slow
def test_workers_share_a_study_and_one_that_is_killed_leaves_its_trials_to_the_others(home):
    workers = [begin("worker", home) for _ in range(3)]
    owners = {}
    for _ in range(3000):
        if owners := running(home):
            break
        time.sleep(0.05)
    victim = next(w for w in workers if any(f"-{w.pid}-" in owner for owner in owners))
    victim.kill()
    victim.communicate()
    for worker in workers:
        if worker is not victim:
            out, errors = worker.communicate(timeout=120)
            assert worker.returncode == 0, errors
            assert f"all {TRIALS} trials are there" in out
    concluded = run_command("sweep", *STUDY, cwd=home)
    assert concluded.returncode == 0, concluded.stderr
    assert agreement(journal(home, "shared"), "shared", f"sqlite:///{home}/mlruns/mlflow.db", TRIALS) == WHOLE


@pytest.mark.slow
def test_two_sweeps_of_a_study_share_it_and_both_conclude(home):
    sweeps = [begin("sweep", home) for _ in range(2)]
    for sweep in sweeps:
        out, errors = sweep.communicate(timeout=180)
        assert sweep.returncode == 0, errors
        assert out.splitlines()[-1] == "mlruns/reports/shared/report.html"
    assert agreement(journal(home, "shared"), "shared", f"sqlite:///{home}/mlruns/mlflow.db", TRIALS) == WHOLE
    owners = {t.user_attrs["owner"] for t in trials_of(journal(home, "shared"), "shared")}
    assert 1 <= len(owners) <= 2  # the first may have done all before the second was up


@pytest.mark.slow
def test_a_worker_takes_the_number_of_trials_from_the_study(home):
    with begin("sweep", home) as sweep:
        for _ in range(3000):
            if running(home):
                break
            time.sleep(0.05)
        joined = run_command("worker", *STUDY, "search.n_trials=96", cwd=home)
        assert joined.returncode == 0, joined.stderr
        sweep.communicate(timeout=180)
    assert len(trials_of(journal(home, "shared"), "shared")) == TRIALS
