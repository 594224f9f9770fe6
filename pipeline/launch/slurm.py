"""Workers as an array of Slurm jobs, submitted through submitit."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

from pipeline.config import SlurmLauncher
from pipeline.errors import RunError, UsageError
from pipeline.launch.task import AFTER, BEFORE, Task
from pipeline.launch.workers import Census, last_words

__all__ = ["SlurmArray", "check_slurm", "submit", "submitted_before"]

POLL_S = 5.0
# Of a job's time before it is up, in which the worker stops and the job is put back in the queue.
NOTICE_S = 30
WAITS = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "SUSPENDED")
# Of Slurm's variables those that say how the cluster is reached, and not of which job a process is.
OF_THE_SITE = ("SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT", "SLURM_TIME_FORMAT")
# Names the job whose logs are in a folder, for who follows it later.
MARK = "job"


class SlurmArray:
    """The jobs of an array.

    Args:
        job: Slurm's number of it. count: of its jobs.
        folder: where submitit keeps their logs.
    """

    def __init__(self, job: str, count: int, folder: Path) -> None:
        self.title = f"{count} workers as Slurm job {job}, logs in {folder}"
        self.job, self.folder = job, folder
        names = [f"{job}_{number}" for number in range(count)] if count > 1 else [job]
        # Until Slurm has said something else.
        self._states = dict.fromkeys(names, "PENDING")
        self._lines: list[str] = []
        self._asked = float("-inf")

    def count(self) -> Census:
        if time.monotonic() - self._asked > POLL_S:
            self._asked = time.monotonic()
            if (found := _queue(self.job)) is not None:
                self._note(found)
        states = [state for state in self._states.values() if state]
        waiting = sum(state in WAITS for state in states)
        return Census(len(states) - waiting, waiting)

    def _note(self, found: dict[str, str]) -> None:
        for name, before in self._states.items():
            now = found.get(name, "")
            if now in WAITS and before not in (*WAITS, ""):
                self._lines.append(f"worker {name} was put back in the queue")
            if before and not now and not self._path(name, "result.pkl").exists():
                log = self._path(name, "log.err")
                self._lines.append(f"worker {name} ended before its time: {last_words(log)} ({log})")
            self._states[name] = now

    def _path(self, name: str, kind: str) -> Path:
        """A file of submitit's; of its results only whether they are there is of interest."""
        return self.folder / f"{name}_0_{kind}"

    def news(self) -> list[str]:
        lines, self._lines = self._lines, []
        return lines

    def dismiss(self) -> None:
        if self.count().waiting:
            _cancel("--state=PENDING", self.job)

    def stop(self, number: int) -> None:  # noqa: ARG002  (Slurm has its own way)
        """As ``scancel`` does."""
        _cancel(self.job)


def check_slurm() -> Any:
    """The module submitit.

    Raises:
        UsageError: it is not installed, or this host has no Slurm.
    """
    try:
        import submitit  # an extra, which takes half a second to import
    except ImportError:
        missing = "needs submitit, which is not installed: `make cluster`, or pip install 'initlab[cluster]'"
        raise UsageError.of("launcher", "slurm", missing) from None
    if shutil.which("sbatch") is None:
        raise UsageError.of("launcher", "slurm", "there is no sbatch on this host; give the command on one that has it")
    return submitit


def submit(
    launcher: SlurmLauncher, overrides: Sequence[str], variables: Mapping[str, str], folder: Path, name: str
) -> SlurmArray:
    """Submits the array.

    Args:
        overrides: of each worker. variables: of its environment, besides those of this process.
        folder: for logs; of this study alone, and seen by all nodes.
        name: of the jobs.

    Raises:
        UsageError: this host has no Slurm.
        RunError: Slurm refuses.
    """
    executor = check_slurm().SlurmExecutor(folder)
    executor.update_parameters(**_options(launcher, name))
    task = Task(tuple(overrides))
    try:
        # What sbatch prints is in the error as well.
        with _environment(variables), redirect_stderr(StringIO()):
            jobs = executor.submit_array([task] * launcher.workers)
    except Exception as error:  # submitit's, with what sbatch said
        raise RunError(f"sbatch: {' '.join(str(error).split())[:300]}") from None
    job = str(jobs[0].job_id).partition("_")[0]
    (folder / MARK).write_text(f"{job} {launcher.workers}\n")
    return SlurmArray(job, launcher.workers, folder)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """sbatch hands on what it finds in its own: this process's, less what tells of the job that this may be part of."""
    before = dict(os.environ)
    for name in before:
        if name.startswith(("SLURM_", "SRUN_")) and name not in OF_THE_SITE:
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def submitted_before(folder: Path) -> SlurmArray | None:
    """The array that was submitted for this study, if any of its jobs is left."""
    try:
        job, count = (folder / MARK).read_text().split()
    except (OSError, ValueError):
        return None
    return SlurmArray(job, int(count), folder) if _queue(job) else None


def _options(launcher: SlurmLauncher, name: str) -> dict[str, Any]:
    """Options of sbatch, as submitit names them."""
    given = {
        "partition": launcher.partition,
        "account": launcher.account,
        "qos": launcher.qos,
        "constraint": launcher.constraint,
        "mem": f"{round(launcher.mem_gb * 1024)}M" if launcher.mem_gb else None,
        "gpus_per_node": launcher.gpus or None,
    }
    return {key: value for key, value in given.items() if value is not None} | {
        "job_name": name,
        "time": launcher.timeout_min,
        "cpus_per_task": launcher.cpus_per_task,
        "array_parallelism": launcher.workers,
        "signal_delay_s": NOTICE_S,
        "setup": [*BEFORE, *launcher.setup],
        "teardown": list(AFTER) if launcher.requeue else None,
        "additional_parameters": {"requeue" if launcher.requeue else "no-requeue": True, **launcher.parameters},
    }


def _queue(job: str) -> dict[str, str] | None:
    """State by job of those of an array that have not ended; None if Slurm doesn't answer."""
    command = ["squeue", "--noheader", "--array", f"--jobs={job}", "--format=%i %T"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        # It forgets jobs some minutes after their end.
        return {} if "Invalid job id" in done.stderr else None
    return dict(line.split() for line in done.stdout.splitlines())


def _cancel(*arguments: str) -> None:
    subprocess.run(["scancel", "--quiet", *arguments], capture_output=True, check=False)
