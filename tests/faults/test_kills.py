"""kill -9 at random moments over a whole study, again and again."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from agreement import agreement, journal, trials_of

KILLS = int(os.environ.get("INITLAB_KILLS", "50"))
TRIALS = 96
STUDY = [
    "study.name=killed",
    "search=random",
    f"search.n_trials={TRIALS}",
    "search.replicates=2",
    "search.confirm=2",
    "search.batch=4",
    "trainer.epochs=800",
    "report.exemplars=false",
]


COMMAND = [sys.executable, "-m", "pipeline", "sweep", *STUDY]


def test_a_study_killed_again_and_again_ends_as_if_it_had_not_been(home, rng):
    begun = time.monotonic()
    with started(home) as process:
        while not done(home):
            assert process.poll() is None
            time.sleep(0.1)
        kill(process, rng)
    start_up = time.monotonic() - begun
    for _ in range(KILLS - 1):
        with started(home) as process:
            time.sleep(rng.uniform(0.0, 2 * start_up))
            kill(process, rng)
    before = done(home)
    to_its_end(home)
    found = agreement(journal(home, "killed"), "killed", f"sqlite:///{home}/mlruns/mlflow.db", TRIALS)
    print(
        f"{KILLS} kills within {2 * start_up:.0f} s of the start, {before} of {TRIALS} trials done at the last: {found}"
    )
    assert (found.lost, found.repeated, found.running, found.different) == (0, 0, 0, 0)

    whole = home / "whole"
    whole.mkdir()
    to_its_end(whole)
    ends = [{t.number: (t.params, t.value) for t in trials_of(journal(p, "killed"), "killed")} for p in (home, whole)]
    print(f"the same trials as without kills: {ends[0] == ends[1]}")
    assert ends[0] == ends[1]
    assert not list((home / "mlruns" / "optuna" / "workers").iterdir())


def started(home: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        COMMAND, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )


def to_its_end(home: Path) -> None:
    ended = subprocess.run(COMMAND, cwd=home, capture_output=True, text=True, timeout=900, check=False)
    assert ended.returncode == 0, ended.stderr


def kill(process: "subprocess.Popen[bytes]", rng: random.Random) -> None:
    if rng.random() < 0.5:
        process.kill()  # its children end with it
    elif process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


def done(home: Path) -> int:
    """How many trials have ended."""
    try:
        return sum(trial.state.is_finished() for trial in trials_of(journal(home, "killed"), "killed"))
    except (KeyError, FileNotFoundError):
        return 0
