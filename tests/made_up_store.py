"""A store that fails as it is told to, for the tests of those who write to it."""

import threading
import time

from made_up_runs import run_of

from pipeline.tracking import TrialRun, Writer
from pipeline.tracking.packing import unpack
from pipeline.tracking.writer import PENDING


class Log:
    """Notes what it is given; fails on the trials in ``bad``, and with them on whatever stands beside them.

    Attributes:
        hated: a trial for which the store answers as if it were away.
        away: what it raises while the store is away. ambiguous: whether it has written then all the same.
    """

    at_once = PENDING

    def __init__(self, *bad: int) -> None:
        self.bad, self.items, self.sizes = set(bad), [], []
        self.gate = threading.Event()
        self.gate.set()
        self.away: Exception | None = None
        self.ambiguous = False
        self.hated = -1
        self.tidied = 0

    def begin(self) -> None:
        if self.away:
            raise self.away
        assert self.items == []
        self.items.append("begin")

    def prepare(self, trial):
        return run_of(trial.number)

    def write(self, runs, again) -> None:
        self.gate.wait()
        numbers = [int(run.tags["initlab.trial"]) for run in runs]
        if self.away and not self.ambiguous:
            raise self.away
        if self.hated in numbers:
            raise TimeoutError("timed out")
        for number in numbers:
            if number in self.bad:
                raise OSError(f"no room for {number}")
        self.items += [number for number in numbers if not (again and number in self.items)]
        self.sizes.append(len(numbers))
        if self.away:
            raise self.away

    def tidy(self) -> None:
        if self.away:
            raise self.away
        self.tidied += 1


def trial(number: int) -> TrialRun:
    return TrialRun(number, None, {}, None, None, 0.0)


def run(writing: Writer, log: Log, count: int, error: BaseException | None = None, open_gate: bool = False) -> None:
    """Submits 0 to ``count``, then raises ``error`` in the writer's context, if there is one."""
    with writing as into:
        for i in range(count):
            into.submit(trial(i))
        if open_gate:
            log.gate.set()
        if error is not None:
            raise error


def kept(tmp_path):
    """The trials that wait on disk, in order."""
    files = sorted((tmp_path / "spool" / "s" / "me").glob("*.run"))
    return [int(unpack(path.read_bytes()).tags["initlab.trial"]) for path in files]


def wait_until(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
