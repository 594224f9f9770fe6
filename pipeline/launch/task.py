"""What each Slurm job runs: a worker, which ends politely when Slurm wants the node back."""

import signal
import subprocess
from dataclasses import dataclass
from types import FrameType

from pipeline.children import lab_command, lab_environment

__all__ = ["AFTER", "BEFORE", "Task"]

POLL_S = 0.5
TERMINATED = 143

BEFORE = ("trap : TERM",)
"""Lines of the job's script before the task, so that the script outlives it."""

AFTER = (
    # Ended by SIGTERM, or by SIGUSR2 before the task could take that.
    "code=$?",
    "if [ $code = 143 ] || [ $code = 140 ]; then",
    '  scontrol --oneliner show job "$SLURM_JOB_ID" | grep -q "JobState=RUNNING " && scontrol requeue "$SLURM_JOB_ID"',
    "fi",
    "exit $code",
)
"""Lines after it: a job that was told to stop goes back into the queue.

A job that is preempted gets some time of grace at most sites, and Slurm puts it back only if it
has not ended by itself until then; a worker that was told to stop has. Nor does Slurm put back
one whose time is up, of which it warns with SIGUSR2. Of a job that it is ending already, because
it was cancelled for one, it has noted another state than RUNNING.
"""


@dataclass(frozen=True)
class Task:
    """A worker, as submitit pickles it: words of a command, and no more.

    Attributes:
        overrides: of ``initlab worker``.
    """

    overrides: tuple[str, ...]

    def __call__(self) -> None:
        """Runs the worker to its end, or to that of the job.

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
        if code:
            raise SystemExit(TERMINATED if told or code == -signal.SIGTERM else code)


def _wait(process: "subprocess.Popen[bytes]", told: list[int]) -> int:
    """The worker's exit code. SIGTERM reaches it from Slurm; SIGUSR2 is handed on as that, once."""
    asked = False
    while True:
        try:
            return process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            if signal.SIGUSR2 in told and not asked:
                process.terminate()
                asked = True
