"""Processes that train: the same numbers, errors that arrive, and nothing left behind.

Each test runs a process of its own, as the test's has threads, beside which none is forked.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

BEGIN = """
import os, signal, sys, time
from functools import partial
from pipeline.config import compose
from pipeline.errors import RunError, UsageError
from pipeline.forks import Fork, can_fork
from pipeline.parts import Part, train_part
from pipeline.pool import Pool, run_jobs
from pipeline.runner import Job
assert can_fork()
def jobs(*overrides, seeds=5):
    short = ["dataset=wine", "trainer.epochs=2", "trainer.batch_size=32", "model.width=9"]
    return [Job(compose([*short, "trainer.execution=native", *overrides]), seed) for seed in range(seeds)]
def numbers(records):
    return [repr((r.final, r.init, r.curves, r.layers)) for r in records]
"""


def script(text: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", BEGIN + text], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_processes_give_the_numbers_of_threads():
    assert (
        script("""
several = [*jobs(), *jobs("weight_init.scale=0", seeds=2)]
alone = run_jobs([*jobs("trainer.workers=1"), *jobs("weight_init.scale=0", "trainer.workers=1", seeds=2)])
parts = [Part(several[:3]), Part(several[3:])]
with Pool(2, forked=True) as pool:
    assert len(pool._forks) == 2
    futures = [pool.submit(partial(train_part, part), lambda _: None) for part in parts]
    together = [record for future in futures for record in future.result()]
assert numbers(together) == numbers(alone)
print(len(together))
""")
        == "7"
    )


def test_errors_arrive_and_the_process_goes_on():
    assert script("""
def answer(request, progress):
    progress(0.5)
    if request == "wrong":
        raise UsageError.of("a", 1, "must be 2")
    if request == "odd":
        raise type("Odd", (Exception,), {})("not to be pickled")
    return request * 2
fork, seen = Fork(answer), []
for request in ("wrong", "odd", "fine"):
    try:
        print(fork.ask(request, seen.append, lambda: None))
    except Exception as error:
        print(type(error).__name__, error)
fork.end()
print(seen)
""").splitlines() == ["UsageError a=1: must be 2", "RuntimeError Odd: not to be pickled", "finefine", "[0.5, 0.5, 0.5]"]


def test_a_process_that_dies_is_said():
    assert "a training process died (exit code -9)" in script("""
def answer(request, progress):
    os.kill(os.getpid(), signal.SIGKILL)
fork = Fork(answer)
try:
    fork.ask(1, print, lambda: None)
except RunError as error:
    print(error)
""")


def test_a_job_that_is_terminated_says_so_whoever_hears_of_it_first():
    found = script("""
from pipeline.interrupt import Terminated
def answer(request, progress):
    if request == "read":
        raise EOFError("of a file")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
fork = Fork(answer)
for request in ("read", "end"):
    try:
        fork.ask(request, print, lambda: None)
    except (EOFError, RunError, Terminated) as error:
        print(type(error).__name__)
""")
    assert found.split() == ["EOFError", "Terminated"]


def test_what_nobody_waits_for_is_ended():
    assert (
        script("""
part, done = Part(jobs("trainer.epochs=1000000", seeds=1), 1_000_000), [0.0]
with Pool(1, forked=True) as pool:
    (fork,) = pool._forks
    future = pool.submit(partial(train_part, part), partial(done.__setitem__, 0))
    while not done[0]:
        time.sleep(0.01)
print(future.done(), done[0] < 1_000_000, fork._process.exitcode)
""")
        == "True True -9"
    )


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="the kernel ends them on Linux alone")
def test_processes_die_with_a_parent_that_is_killed():
    text = """
import threading
forks = [Fork(lambda request, progress: time.sleep(60)) for _ in range(2)]
for fork in forks:
    threading.Thread(target=fork.ask, args=(1, print, lambda: None), daemon=True).start()
print(*[fork._process.pid for fork in forks], flush=True)
time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", BEGIN + text], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    children = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(children) == 2
    os.kill(parent.pid, signal.SIGKILL)
    parent.communicate()
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children):
        assert time.monotonic() < end
        time.sleep(0.05)
