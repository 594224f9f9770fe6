"""What each Slurm job runs: a worker. Where Slurm wants the node back, the job goes back into the queue.

Slurm tells a job so with SIGTERM, or with the signal that it was submitted with (SIGUSR2)
where the site is set up for that, and does the latter before the job's time is up. After
SIGTERM it is Slurm that decides what becomes of the job: one that is preempted with a time of
grace goes on to its end, and is put back only if it has not ended by itself until then. A
worker that is asked to stop does end by itself, so it is put back from here.
"""

import os
import signal
import subprocess
from dataclasses import dataclass
from types import FrameType

from pipeline.children import lab_command, lab_environment

__all__ = ["Task"]

POLL_S = 0.5
TERMINATED = 143
STOPPED = (TERMINATED, -signal.SIGTERM)


@dataclass(frozen=True)
class Task:
    """A worker, as submitit pickles it: words of a command, and no more.

    Attributes:
        overrides: of ``initlab worker``.
        requeue: whether the job is to go back into the queue when it is told to stop.
    """

    overrides: tuple[str, ...]
    requeue: bool

    def __call__(self) -> None:
        """Runs the worker to its end.

        Raises:
            SystemExit: it failed, or was told to stop; submitit notes a result only without that.
        """
        told: list[int] = []

        def note(number: int, frame: FrameType | None) -> None:
            told.append(number)

        signal.signal(signal.SIGTERM, note)
        # Slurm signals the worker too. It would die of SIGUSR2, so it is born with that blocked.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
        signal.signal(signal.SIGUSR2, note)
        process = subprocess.Popen(lab_command("worker", *self.overrides), env=lab_environment())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR2})
        code = _wait(process, told)
        if code == 0:
            return
        if self.requeue and (told or code in STOPPED):
            _requeue()
        raise SystemExit(TERMINATED if code in STOPPED else code)


def _wait(process: "subprocess.Popen[bytes]", told: list[int]) -> int:
    """The worker's exit code; it is told to stop as soon as this process is."""
    asked = False
    while True:
        try:
            return process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            if told and not asked:
                process.terminate()
                asked = True


def _requeue() -> None:
    """Puts this job back, unless Slurm is ending it: then that is either done already, or isn't wanted."""
    job = os.environ["SLURM_JOB_ID"]
    show = ["scontrol", "--oneliner", "show", "job", job]
    shown = subprocess.run(show, capture_output=True, text=True, check=False).stdout.split()
    if "JobState=RUNNING" in shown:
        subprocess.run(["scontrol", "requeue", job], check=False)
