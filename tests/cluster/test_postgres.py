"""Workers that share nothing but PostgreSQL and an MLflow server."""

import os
import signal
from collections import Counter

from agreement import Agreement, agreement, trials_of
from loopback import Site, wait_until

TRIALS = 32
WHOLE = Agreement(0, 0, 0, 0)
STUDY = [
    "study.name=shared",
    f"search.n_trials={TRIALS}",
    "search.confirm=2",
    "search.replicates=2",
    "trainer.epochs=100",
]


def test_four_workers_of_which_one_is_killed(site: Site, figure):
    before = len(site.database_log.read_text())
    keys = [*STUDY, f"search.storage={site.storage}", f"tracking.uri={site.tracking}"]
    logs = [site.home / f"worker-{number}.log" for number in range(4)]
    # Each with a folder of its own, as on hosts that share no files.
    workers = [
        site.start("worker", *keys, "trainer.workers=1", f"tracking.dir={site.home}/host-{number}", log=log)
        for number, log in enumerate(logs)
    ]
    wait_until("all have begun", lambda: all("trials x" in log.read_text() for log in logs))
    wait_until("a sixth of the trials are done", lambda: site.done("shared") >= TRIALS // 6)
    done = site.done("shared")
    os.kill(workers[1].pid, signal.SIGKILL)
    codes = [worker.wait(400) for worker in workers]
    assert codes == [0, -signal.SIGKILL, 0, 0]

    states = Counter(trial.state.name for trial in trials_of(site.optuna(), "shared"))
    for log in logs:
        assert not any(word in log.read_text() for word in ("Error", "Traceback", "error")), log.read_text()

    # What the killed one had told and not written yet is the sweep's to write.
    sweep = site.start("sweep", *keys)
    out, said = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, said
    found = agreement(site.optuna(), "shared", site.tracking, TRIALS)
    errors = site.database_errors(before)
    figure(
        f"4 workers, one killed after {done} of {TRIALS} trials: {dict(states)}; {found}; {len(errors)} database errors"
    )
    assert states == {"COMPLETE": TRIALS}
    assert found == WHOLE
    assert errors == []
    assert (site.home / out.splitlines()[-1]).is_file()
    assert site.files_with_a_secret() == []


def test_the_storage_may_be_named_by_the_environment_alone(site: Site):
    site.environment["INITLAB_STORAGE"] = site.storage
    try:
        worker = site.start(
            "worker", "study.name=named", "search.n_trials=4", "trainer.epochs=2", f"tracking.uri={site.tracking}"
        )
        _, errors = worker.communicate(timeout=120)
    finally:
        del site.environment["INITLAB_STORAGE"]
    assert worker.returncode == 0, errors
    assert site.done("named") == 4
