"""The thread that writes: in order, everything, whatever happens beside it or in it."""

import threading

import pytest

from pipeline.tracking import Writer
from pipeline.tracking.writer import PENDING


class Log:
    """Notes what it is given; fails on the items in ``bad``, and with them on whatever stands beside them."""

    def __init__(self, *bad: int) -> None:
        self.bad, self.items, self.sizes = set(bad), [], []
        self.gate = threading.Event()
        self.gate.set()

    def begin(self) -> None:
        assert self.items == []
        self.items.append("begin")

    def write(self, items) -> None:
        self.gate.wait()
        for item in items:
            if item in self.bad:
                raise OSError(f"no room for {item}")
        self.items += items
        self.sizes.append(len(items))


def run(log: Log, count: int, error: BaseException | None = None, open_gate: bool = False) -> None:
    """Submits 0 to ``count``, then raises ``error`` in the writer's context, if there is one."""
    with Writer(log.write, log.begin) as writer:
        for i in range(count):
            writer.submit(i)
        if open_gate:
            log.gate.set()
        if error is not None:
            raise error


def test_everything_is_written_in_order_after_the_beginning():
    log = Log()
    run(log, 500)
    assert log.items == ["begin", *range(500)]


def test_what_waits_is_written_at_once_and_no_more_than_may_wait():
    log = Log()
    log.gate.clear()
    submitting = threading.Thread(target=run, args=(log, 3 * PENDING))
    submitting.start()
    submitting.join(0.2)
    assert submitting.is_alive()  # waits for the writer
    log.gate.set()
    submitting.join()
    assert log.items == ["begin", *range(3 * PENDING)]
    assert 1 < max(log.sizes) <= PENDING


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_beside_it_loses_nothing(error):
    log = Log()
    with pytest.raises(error, match="beside"):
        run(log, 50, error("beside"))
    assert log.items == ["begin", *range(50)]


def test_an_error_in_it_is_raised_at_the_end_and_keeps_nothing_else_out():
    log = Log(7)
    log.gate.clear()
    with pytest.raises(OSError, match="no room for 7"):
        run(log, 20, open_gate=True)
    assert log.items == ["begin", *[i for i in range(20) if i != 7]]


def test_an_error_in_it_is_raised_at_a_later_submit():
    log = Log(0)
    with pytest.raises(OSError, match="no room for 0"):
        run(log, 1_000_000)
    assert len(log.items) < 1_000_000


def test_a_store_that_takes_nothing_is_not_asked_for_ever():
    log, calls = Log(*range(PENDING)), []
    log.gate.clear()
    write, log.write = log.write, lambda items: (calls.append(items), write(items))
    with pytest.raises(OSError, match="no room for 0"):
        run(log, PENDING // 2, open_gate=True)
    assert 3 <= len(calls) <= 6


def test_without_its_beginning_nothing_is_written():
    log = Log()

    def fail() -> None:
        raise OSError("no store")

    log.begin = fail
    with pytest.raises(OSError, match="no store"):
        run(log, 1)
    assert log.items == []
