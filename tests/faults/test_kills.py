"""kill -9 at random moments over a whole study, again and again."""

import os
import signal
import subprocess
import sys
import time

from agreement import agreement, journal, trials_of
from conftest import run_command

KILLS = int(os.environ.get("INITLAB_KILLS", "50"))
TRIALS = 96
STUDY = [
    "study.name=killed",
    "search=random",
    f"search.n_trials={TRIALS}",
    "search.replicates=2",
    "search.confirm=2",
    "search.batch=4",
    "model.width=32",
]


def test_a_study_killed_again_and_again_ends_as_if_it_had_not_been(home, rng, figure):
    storage, seconds = None, []
    command = [sys.executable, "-m", "pipeline", "sweep", *STUDY, "trainer.epochs=60"]
    for _ in range(KILLS):
        with subprocess.Popen(
            command, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as process:
            seconds.append(rng.uniform(0.0, 9.0))
            time.sleep(seconds[-1])
            if rng.random() < 0.5:
                process.kill()  # its children end with it
            else:
                os.killpg(process.pid, signal.SIGKILL)
    storage = journal(home, "killed")
    before = sum(trial.state.is_finished() for trial in trials_of(storage, "killed"))
    done = run_command("sweep", *STUDY, "trainer.epochs=60", cwd=home)
    assert done.returncode == 0, done.stderr
    found = agreement(storage, "killed", f"sqlite:///{home}/mlruns/mlflow.db", TRIALS)
    figure(f"{KILLS} kills, {before} of {TRIALS} trials done at the last: {found}")
    assert (found.lost, found.repeated, found.running, found.different) == (0, 0, 0, 0)

    whole = home / "whole"
    whole.mkdir()
    done = run_command("sweep", *STUDY, "trainer.epochs=60", "tracking.register=false", cwd=whole)
    assert done.returncode == 0, done.stderr
    ends = [
        {t.number: (t.params, t.value) for t in trials_of(journal(place, "killed"), "killed")}
        for place in (home, whole)
    ]
    figure(f"the same trials as without kills: {ends[0] == ends[1]}")
    assert ends[0] == ends[1]
    assert not list((home / "mlruns" / "optuna" / "workers").iterdir())
