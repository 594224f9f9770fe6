"""The thread that writes: in order, everything, once, whatever happens beside it, in it or to the store."""

import threading
import time

import pytest
from made_up_runs import run_of
from made_up_store import Log, kept, run, trial, wait_until

from pipeline.errors import RunError
from pipeline.tracking import writer
from pipeline.tracking.packing import pack
from pipeline.tracking.writer import PENDING


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


def test_a_store_that_stays_away_is_an_error_at_the_end(writes, tmp_path, lines):
    log = Log()
    log.away = TimeoutError("timed out")
    with pytest.raises(RunError, match=r"can't be written \(timed out\); 3 runs kept in "):
        run(writes(log, "tracking.patience_s=2"), log, 3)
    assert kept(tmp_path) == [0, 1, 2]
    assert [line for line in lines if "waiting up to 2 s for 3 runs to be delivered" in line] == lines[-1:]


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
