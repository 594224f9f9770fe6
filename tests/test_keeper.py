"""Runs that the store doesn't take, and what keeps them: a disk, a slow one, one that has stopped, none."""

import threading
import time

import pytest
from made_up_store import Log, kept, run, trial, wait_until

from pipeline.errors import RunError
from pipeline.tracking import Spool, writer
from pipeline.tracking.writer import PENDING


class StoppedSpool(Spool):
    """On a disk that has stopped."""

    going = threading.Event()

    def put(self, serial, trial, content):
        self.going.wait()
        return super().put(serial, trial, content)


@pytest.mark.parametrize("error", [None, KeyboardInterrupt()])
def test_where_both_disks_have_stopped_the_user_hears_and_the_process_ends(writes, monkeypatch, lines, error):
    monkeypatch.setattr(writer, "SILENCE_S", 0.3)
    monkeypatch.setattr("pipeline.tracking.keeper.KEEP_S", 0.2)
    monkeypatch.setattr(writer, "KEEP_S", 0.5)
    StoppedSpool.going.clear()
    log = Log()
    into = writes(log, "tracking.patience_s=2", spool=StoppedSpool)
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


def test_where_the_disk_is_slow_as_well_training_waits_for_it_and_loses_nothing(writes, tmp_path, monkeypatch, lines):
    monkeypatch.setattr(writer, "STALL_S", 0.2)
    monkeypatch.setattr(writer, "CROWDED", PENDING + 8)
    monkeypatch.setattr("pipeline.tracking.backlog.MOST_IN_MEMORY", PENDING + 16)
    log = Log()
    log.gate.clear()
    with writes(log, spool=SlowSpool) as into:
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
