"""The journal file under processes that are killed."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from optuna.storages import JournalStorage
from optuna.study import StudyDirection

from pipeline.search.journal import Journal

HOLDS = """
import sys, time
from pathlib import Path
from pipeline.search.journal import Journal
journal = Journal(Path(sys.argv[1]))
journal._lock.acquire()
print("held", flush=True)
time.sleep(60)
"""


def study_in(path):
    storage = JournalStorage(Journal(path))
    return storage, storage.create_new_study([StudyDirection.MAXIMIZE], "a")


def test_a_killed_process_leaves_no_lock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deep").mkdir()
    path = tmp_path / "deep" / "a.journal"
    holder = subprocess.Popen([sys.executable, "-c", HOLDS, "deep/a.journal"], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    done = threading.Event()
    writer = threading.Thread(target=lambda: (study_in(path), done.set()), daemon=True)
    writer.start()
    assert not done.wait(0.3)
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    assert done.wait(5)
    writer.join()


@pytest.mark.parametrize("torn", [b"{", b'{"op_code":4,"worker_id":"x', b"x" * 200_000])
def test_a_line_cut_off_was_not_stored(tmp_path, torn):
    path = tmp_path / "a.journal"
    storage, study = study_in(path)
    number = storage.create_new_trial(study)
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    again = JournalStorage(Journal(path))
    assert [t._trial_id for t in again.get_all_trials(study)] == [number]
    again.create_new_trial(study)
    assert path.read_bytes().startswith(whole + b'{"op_code"')
    assert len(JournalStorage(Journal(path)).get_all_trials(study)) == 2
