"""``initlab sweep launcher=slurm`` on two nodes of two cores each."""

import re
import signal
import time
from collections import Counter
from collections.abc import Iterator

import psutil
import pytest
from agreement import Agreement, agreement, trials_of
from loopback import Site, queue, slurm, wait_until

TRIALS = 32
WHOLE = Agreement(0, 0, 0, 0)
LAUNCH = ["launcher=slurm", "launcher.workers=4", "launcher.cpus_per_task=1", "launcher.partition=low"]
STUDY = [*LAUNCH, f"search.n_trials={TRIALS}", "search.confirm=2", "search.replicates=2", "trainer.epochs=300"]


@pytest.fixture(autouse=True)
def nothing_is_left(slurm_site: Site) -> Iterator[None]:
    yield
    slurm("scancel", "--quiet", "--me")
    wait_until("the queue is empty", lambda: not queue(), 60)


def keys(site: Site, study: str) -> list[str]:
    return [*STUDY, f"study.name={study}", f"search.storage={site.storage}", f"tracking.uri={site.tracking}"]


def four_run() -> bool:
    return list(queue().values()) == ["RUNNING"] * 4


def test_one_of_four_workers_is_preempted_and_put_back(slurm_site: Site, figure):
    site = slurm_site
    started = time.monotonic()
    # Passwords on the command line: they go no further than to the environment of the jobs.
    sweep = site.start("sweep", *keys(site, "preempted"), *site.with_passwords())
    wait_until("four jobs run", four_run)
    wait_until("a trial is done", lambda: site.done("preempted") >= 4)
    done = site.done("preempted")
    slurm("sbatch", "--partition=high", "--ntasks=1", "--output=/dev/null", "--wrap=sleep 3")
    out, errors = sweep.communicate(timeout=500)
    assert sweep.returncode == 0, errors
    assert errors == ""
    job = re.search(r"4 workers as Slurm job (\d+)", out)[1]
    assert len(re.findall(rf"worker {job}_\d was put back in the queue", out)) == 1
    states = slurm("sacct", "--noheader", "--duplicates", "--allocations", "--format=state", f"--jobs={job}").split()
    found = agreement(site.optuna(), "preempted", site.tracking, TRIALS)
    figure(
        f"array of 4 on 2 nodes, one preempted after {done} of {TRIALS} trials and put back: {found}; "
        f"jobs {', '.join(sorted(states))}; {time.monotonic() - started:.0f} s"
    )
    assert found == WHOLE
    assert states.count("REQUEUED") == 1
    assert (site.home / out.splitlines()[-1]).is_file()
    assert site.files_with_a_secret() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_the_sweep_cancels_the_jobs(slurm_site: Site, figure, number, code):
    site, study = slurm_site, f"stopped-{code}"
    sweep = site.start("sweep", *keys(site, study), "search.n_trials=400")
    wait_until("four jobs run", four_run)
    wait_until("a trial is done", lambda: site.done(study))
    sweep.send_signal(number)
    started = time.monotonic()
    _, errors = sweep.communicate(timeout=60)
    seconds = time.monotonic() - started
    assert sweep.returncode == code
    assert seconds < 10
    assert errors.count("\n") == 1
    wait_until("no job is left", lambda: not queue(), 60)
    states = Counter(trial.state.name for trial in trials_of(site.optuna(), study))
    figure(f"{signal.Signals(number).name}: exit {code} after {seconds:.1f} s; {dict(states)}")
    # What was begun waits for whoever goes on.
    assert states["RUNNING"] == 0, "\n".join(log.read_text() for log in site.home.glob("mlruns/workers/*/*_log.*"))


def test_a_sweep_that_was_killed_follows_its_jobs_again(slurm_site: Site):
    site = slurm_site
    first = site.start("sweep", *keys(site, "followed"))
    wait_until("four jobs run", four_run)
    first.kill()
    first.communicate()
    before = {name.partition("_")[0] for name in queue()}
    second = site.start("sweep", *keys(site, "followed"))
    out, errors = second.communicate(timeout=400)
    assert second.returncode == 0, errors
    assert re.findall(r"as Slurm job (\d+)", out) == sorted(before)
    assert agreement(site.optuna(), "followed", site.tracking, TRIALS) == WHOLE


def test_a_sweep_in_a_job_submits_others_that_are_not_bound_as_it_is(slurm_site: Site, figure):
    site = slurm_site
    srun = ["srun", "--quiet", "--partition=low", "--ntasks=1", "--cpus-per-task=2", "--cpu-bind=none"]
    few = ["launcher.workers=2", "search.n_trials=12"]
    sweep = site.start("sweep", *keys(site, "inside"), *few, inside=srun)
    wait_until("both workers run", lambda: len(workers()) == 2)
    environments = [worker.environ() for worker in workers()]
    given = {environment.get("SLURM_CPUS_PER_TASK") for environment in environments}
    bound = {environment.get("SLURM_CPU_BIND") for environment in environments}
    out, errors = sweep.communicate(timeout=300)
    assert sweep.returncode == 0, errors
    assert "initlab" not in errors  # srun itself remarks that this cluster can't bind
    assert "2 workers as Slurm job" in out
    assert agreement(site.optuna(), "inside", site.tracking, 12) == WHOLE
    figure(f"from a job with 2 cores: workers on {given} core, bound to {bound}")
    assert given == {"1"}
    assert bound == {None}  # but it was quiet,none for the sweep


def workers() -> list[psutil.Process]:
    """The tasks of Slurm jobs that train."""
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if (process.info["cmdline"] or [])[2:4] == ["-m", "submitit.core._submit"]]


def test_jobs_that_fail_are_told_of_with_their_words(slurm_site: Site):
    site = slurm_site
    failing = ["launcher.setup=['export MLFLOW_TRACKING_PASSWORD=wrong']"]
    sweep = site.start("sweep", *keys(site, "failing"), *failing)
    out, errors = sweep.communicate(timeout=200)
    assert sweep.returncode == 1
    assert len(re.findall(r"^worker \d+_\d ended before its time: .* \(.*_log\.err\)$", out, re.MULTILINE)) == 4
    assert errors.count("\n") == 1
    assert f"{TRIALS} of {TRIALS} trials are left, and no worker" in errors


@pytest.mark.parametrize(
    ("overrides", "code", "said"),
    [
        (["launcher.partition=none"], 1, "sbatch: "),
        (["launcher.workers=0"], 2, "launcher.workers=0: must be greater than or equal to 1"),
        (["launcher.partition=a b"], 2, "launcher.partition=a b: "),
    ],
)
def test_what_slurm_or_the_lab_refuses(slurm_site: Site, overrides, code, said):
    sweep = slurm_site.start("sweep", *keys(slurm_site, "refused"), *overrides)
    _, errors = sweep.communicate(timeout=100)
    assert sweep.returncode == code
    assert said in errors
    assert errors.count("\n") == 1
    assert code == 1 or list(slurm_site.home.iterdir()) == []
