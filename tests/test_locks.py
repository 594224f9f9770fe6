"""Locks between workers: exclusive, waited for, and gone with who held them."""

import subprocess
import sys
import threading

import pytest

from pipeline.latch import FileLatch
from pipeline.search.locks import Lock

HOLDER = """
import sys, time
from pathlib import Path
from pipeline.latch import FileLatch
latch = FileLatch(Path(sys.argv[1]))
print(latch.take(), flush=True)
time.sleep(60)
"""


def test_only_one_has_it(tmp_path):
    first, second = FileLatch(tmp_path / "x"), FileLatch(tmp_path / "x")
    assert first.take()
    assert not second.take()
    first.let_go()
    assert second.take()


def test_a_holder_that_is_forgotten_lets_go(tmp_path):
    first = FileLatch(tmp_path / "x")
    first.take()
    del first
    assert FileLatch(tmp_path / "x").take()


def test_it_ends_with_the_process_that_holds_it(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path / "x")], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout.readline() == "True\n"
        assert not FileLatch(tmp_path / "x").take()
        process.kill()
        process.wait()
    assert FileLatch(tmp_path / "x").take()


def test_threads_take_turns(tmp_path):
    lock, inside, most = Lock(FileLatch(tmp_path / "x")), [], []

    def enter():
        for _ in range(50):
            with lock:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 200


def test_waiting_can_be_ended(tmp_path):
    held = FileLatch(tmp_path / "x")
    held.take()
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    lock = Lock(FileLatch(tmp_path / "x"), check)
    with pytest.raises(KeyboardInterrupt), lock:
        pass
    held.let_go()
    with lock:
        assert not FileLatch(tmp_path / "x").take()


def test_an_error_within_lets_go(tmp_path):
    lock = Lock(FileLatch(tmp_path / "x"))
    with pytest.raises(ZeroDivisionError), lock:
        _ = 1 / 0
    assert lock.take()


def test_who_closes_is_not_cut_short_by_the_signal_that_came(tmp_path):
    def stopped() -> None:
        raise KeyboardInterrupt

    held = FileLatch(tmp_path / "x")
    held.take()
    lock = Lock(FileLatch(tmp_path / "x"), stopped)
    with pytest.raises(KeyboardInterrupt), lock:
        pass
    threading.Timer(0.2, held.let_go).start()
    with lock.closing():
        assert not held.take()
    assert held.take()
