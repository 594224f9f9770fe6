"""The thread that writes: in order, everything, once, whatever happens beside it, in it or to the store."""

import threading
import time

import pytest
from made_up_runs import run_of

from pipeline.config import compose
from pipeline.errors import RunError
from pipeline.tracking import Outage, Spool, TrialRun, Writer, writer
from pipeline.tracking.packing import pack, unpack
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


@pytest.fixture
def lines():
    return []


@pytest.fixture
def writes(tmp_path, lines):
    """Makes a writer to a log."""

    def make(log: Log, *overrides: str) -> Writer:
        config = compose([f"tracking.dir={tmp_path}", *overrides])
        return Writer(log, Spool(tmp_path / "spool" / "s" / "me"), Outage(config, lines.append))

    return make


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


def test_everything_is_written_in_order_after_the_beginning(writes, tmp_path, lines):
    log = Log()
    run(writes(log), log, 500)
    assert log.items == ["begin", *range(500)]
    assert lines == []
    assert not (tmp_path / "spool").exists()


def test_what_waits_is_written_at_once_and_no_more_than_may_wait(writes):
    log = Log()
    log.gate.clear()
    submitting = threading.Thread(target=run, args=(writes(log), log, 3 * PENDING))
    submitting.start()
    submitting.join(0.2)
    assert submitting.is_alive()  # waits for the writer
    log.gate.set()
    submitting.join()
    assert log.items == ["begin", *range(3 * PENDING)]
    assert 1 < max(log.sizes) <= PENDING


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_beside_it_loses_nothing(writes, error):
    log = Log()
    with pytest.raises(error, match="beside"):
        run(writes(log), log, 50, error("beside"))
    assert log.items == ["begin", *range(50)]


def test_an_error_in_it_is_raised_at_the_end_and_keeps_nothing_else_out(writes):
    log = Log(7)
    log.gate.clear()
    with pytest.raises(OSError, match="no room for 7"):
        run(writes(log), log, 20, open_gate=True)
    assert log.items == ["begin", *[i for i in range(20) if i != 7]]


def test_an_error_in_it_is_raised_at_a_later_submit(writes):
    log = Log(0)
    with pytest.raises(OSError, match="no room for 0"):
        run(writes(log), log, 1_000_000)
    assert len(log.items) < 1_000_000


def test_a_store_that_takes_nothing_is_not_asked_for_ever(writes):
    log, calls = Log(*range(PENDING)), []
    log.gate.clear()
    write, log.write = log.write, lambda runs, again: (calls.append(runs), write(runs, again))
    with pytest.raises(OSError, match="no room for 0"):
        run(writes(log), log, PENDING // 2, open_gate=True)
    assert 3 <= len(calls) <= 6


def test_without_its_beginning_nothing_is_written(writes):
    log = Log()

    def fail() -> None:
        raise OSError("no store")

    log.begin = fail
    with pytest.raises(OSError, match="no store"):
        run(writes(log), log, 1)
    assert log.items == []


@pytest.mark.parametrize("ambiguous", [False, True])
def test_while_the_store_is_away_all_is_kept_on_disk_and_delivered_in_order_once(writes, tmp_path, lines, ambiguous):
    log = Log()
    with writes(log) as into:
        for i in range(5):
            into.submit(trial(i))
        wait_until(lambda: log.items == ["begin", *range(5)])
        log.away, log.ambiguous = TimeoutError("timed out"), ambiguous
        for i in range(5, 3 * PENDING):
            into.submit(trial(i))
        wait_until(lambda: kept(tmp_path) == list(range(5, 3 * PENDING)))
        log.away = None
    assert log.items == ["begin", *range(3 * PENDING)]
    assert log.tidied == 1
    assert [line.partition(";")[0].rpartition("mlflow.db ")[2] for line in lines if "waiting" not in line] == [
        "can't be written (timed out)",
        "can be written again",
    ]
    assert f"{3 * PENDING - 5} runs that had waited: delivered" in lines[-1]
    assert not (tmp_path / "spool").exists()


def test_a_store_that_is_away_from_the_first_is_waited_for_too(writes, tmp_path):
    log = Log()
    log.away = ConnectionRefusedError(111, "Connection refused")
    with writes(log) as into:
        into.submit(trial(0))
        wait_until(lambda: kept(tmp_path) == [0])
        into.submit(trial(1))
        wait_until(lambda: kept(tmp_path) == [0, 1])
        log.away = None
    assert log.items == ["begin", 0, 1]


def test_a_failure_that_is_over_at_once_is_not_worth_a_word(writes, lines):
    log = Log()
    log.away = ConnectionResetError(104, "Connection reset by peer")
    with writes(log) as into:
        into.submit(trial(0))
        wait_until(lambda: into._outage.reason)
        log.away = None
    assert log.items == ["begin", 0]
    assert lines == []


def test_a_store_that_hangs_does_not_stop_the_training(writes, tmp_path, monkeypatch):
    monkeypatch.setattr(writer, "STALL_S", 0.2)
    log = Log()
    log.gate.clear()
    with writes(log) as into:
        for i in range(4 * PENDING):
            into.submit(trial(i))
        wait_until(lambda: len(kept(tmp_path)) >= 3 * PENDING - 1)
        assert len(into._backlog.first(10**6)) == 4 * PENDING
        log.gate.set()
    assert log.items == ["begin", *range(4 * PENDING)]
    assert not (tmp_path / "spool").exists()


def test_of_a_store_that_hangs_the_user_hears_once_each_time(writes, tmp_path, monkeypatch, lines):
    monkeypatch.setattr(writer, "SILENCE_S", 0.3)
    log = Log()
    with writes(log) as into:
        wait_until(lambda: log.items == ["begin"])
        for hang in range(2):
            log.gate.clear()
            for i in range(3 * hang, 3 * hang + 3):
                into.submit(trial(i))
            wait_until(lambda count=2 * hang + 1: len(lines) == count)
            assert kept(tmp_path) == list(range(3 * hang, 3 * hang + 3))
            time.sleep(1.0)
            log.gate.set()
            wait_until(lambda last=3 * hang + 2: log.items[-1] == last and not into._delivery.work)
    assert log.items == ["begin", *range(6)]
    away, back = lines[:2]
    assert lines == [away, back] * 2
    assert "can't be written (nothing written for 0.3 s); runs are kept in " in away
    assert back.endswith("can be written again; 3 runs that had waited: delivered")


class StoppedSpool(Spool):
    """On a disk that has stopped."""

    going = threading.Event()

    def put(self, serial, trial, content):
        self.going.wait()
        return super().put(serial, trial, content)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_where_both_disks_have_stopped_the_user_hears_and_the_process_ends(tmp_path, monkeypatch, lines, error):
    monkeypatch.setattr(writer, "SILENCE_S", 0.3)
    monkeypatch.setattr("pipeline.tracking.keeper.KEEP_S", 0.2)
    monkeypatch.setattr(writer, "KEEP_S", 0.5)
    StoppedSpool.going.clear()
    log = Log()
    outage = Outage(compose([f"tracking.dir={tmp_path}", "tracking.patience_s=2"]), lines.append)
    into = Writer(log, StoppedSpool(tmp_path / "spool" / "s" / "me"), outage)
    into.__enter__()
    wait_until(lambda: log.items == ["begin"])
    log.gate.clear()
    for i in range(3):
        into.submit(trial(i))
    wait_until(lambda: lines)
    began = time.monotonic()
    if error is None:
        with pytest.raises(RunError) as raised:
            into.__exit__(None, None, None)
        said = str(raised.value)
    else:
        into.__exit__(type(error), error, None)
        said = lines[-1]
    assert time.monotonic() < began + (10 if error is None else 5)
    assert "can't be written (nothing written for 0.3 s); runs are moved to " in lines[0]
    assert "3 runs could not be kept: the next `initlab sweep` of the study trains again" in said
    log.gate.set()
    StoppedSpool.going.set()


class SlowSpool(Spool):
    """On a disk that takes its time for each file."""

    def put(self, serial, trial, content):
        time.sleep(0.02)
        return super().put(serial, trial, content)


def test_where_the_disk_is_slow_as_well_training_waits_for_it_and_loses_nothing(tmp_path, monkeypatch, lines):
    monkeypatch.setattr(writer, "STALL_S", 0.2)
    monkeypatch.setattr(writer, "CROWDED", PENDING + 8)
    monkeypatch.setattr("pipeline.tracking.backlog.MOST_IN_MEMORY", PENDING + 16)
    log = Log()
    log.gate.clear()
    spool = SlowSpool(tmp_path / "spool" / "s" / "me")
    with Writer(log, spool, Outage(compose([f"tracking.dir={tmp_path}"]), lines.append)) as into:
        for i in range(4 * PENDING):
            into.submit(trial(i))
        assert len(kept(tmp_path)) >= 2 * PENDING
        log.gate.set()
    assert log.items == ["begin", *range(4 * PENDING)]
    assert lines == []


@pytest.mark.parametrize("hangs", [False, True])
def test_a_process_that_is_to_end_leaves_what_waits_on_disk(writes, tmp_path, lines, hangs):
    log = Log()
    writing = writes(log)
    ended = []

    def end() -> None:
        with writing as into:
            into.submit(trial(0))
            wait_until(lambda: log.items == ["begin", 0])
            if hangs:
                log.gate.clear()
            log.away = TimeoutError("timed out")
            for i in range(1, 20):
                into.submit(trial(i))
            ended.append(time.monotonic())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        end()
    assert time.monotonic() - ended[0] < 6
    assert kept(tmp_path) == list(range(1, 20))
    folder = tmp_path / "spool" / "s" / "me"
    assert lines[-1] == f"19 runs kept in {folder}, for the next `initlab sweep` of the study to deliver"
    log.gate.set()
    writing._thread.join()


def test_a_store_that_stays_away_is_an_error_at_the_end(writes, tmp_path, lines):
    log = Log()
    log.away = TimeoutError("timed out")
    with pytest.raises(RunError, match=r"can't be written \(timed out\); 3 runs kept in "):
        run(writes(log, "tracking.patience_s=2"), log, 3)
    assert kept(tmp_path) == [0, 1, 2]
    assert [line for line in lines if "waiting up to 2 s for 3 runs to be delivered" in line] == lines[-1:]


def test_without_a_disk_what_waits_is_held_in_memory(writes, tmp_path, lines):
    (tmp_path / "spool").write_text("no folder can be made here")
    log = Log()
    with writes(log) as into:
        wait_until(lambda: log.items == ["begin"])
        log.away = TimeoutError("timed out")
        for i in range(2 * PENDING):
            into.submit(trial(i))
        wait_until(lambda: lines)
        assert "runs are held in memory" in lines[0]
        log.away = None
    assert log.items == ["begin", *range(2 * PENDING)]


def test_without_a_disk_memory_is_bounded_and_what_is_left_out_is_told(writes, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.tracking.backlog.MOST_IN_MEMORY", 10)
    (tmp_path / "spool").write_text("no folder can be made here")
    log = Log()
    log.away = TimeoutError("timed out")
    with pytest.raises(RunError, match="15 runs could not be kept: the next `initlab sweep` of the study trains again"):
        run(writes(log, "tracking.patience_s=1"), log, 15)


def test_a_damaged_file_keeps_nothing_else_out(writes, tmp_path, lines):
    log = Log()
    log.away = TimeoutError("timed out")
    with writes(log) as into:
        for i in range(4):
            into.submit(trial(i))
        wait_until(lambda: len(kept(tmp_path)) == 4)
        (tmp_path / "spool" / "s" / "me" / "00000002-2.run").write_bytes(pack(run_of(2))[:100])
        log.away = None
    assert log.items == ["begin", 0, 1, 3]
    assert len([line for line in lines if "00000002-2.run is damaged" in line]) == 1
    assert [path.name for path in tmp_path.glob("spool/s/me/*.*")] == ["00000002-2.damaged"]


@pytest.mark.slow
def test_a_run_that_the_store_never_takes_keeps_nothing_else_out(writes, tmp_path):
    log = Log()
    log.hated, log.at_once = 3, 1
    with pytest.raises(RunError, match="1 run kept in"):
        run(writes(log, "tracking.patience_s=12"), log, 12)
    assert log.items == ["begin", *[i for i in range(12) if i != 3]]
    assert kept(tmp_path) == [3]
