"""Files in order in a folder that is owned while its writer lives: real processes, real kills."""

import signal
import subprocess
import sys

import pytest

from pipeline.config import compose
from pipeline.tracking import Spool, spool_dir
from pipeline.tracking.spool import left_behind, set_aside, waiting_in

OWN = """
import sys, time
from pathlib import Path
from pipeline.tracking import Spool
spool = Spool(Path(sys.argv[1]))
assert spool.open()
spool.put(3, 30, b"three")
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def other(tmp_path):
    """Another process that owns a spool and has put a file there."""
    command = [sys.executable, "-c", OWN, str(tmp_path / "spool" / "study" / "other")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_files_come_back_in_their_order(tmp_path):
    spool = Spool(tmp_path / "study" / "me")
    assert spool.open()
    for serial in (2, 10, 1):
        spool.put(serial, 100 - serial, str(serial).encode())
    assert [path.read_bytes() for path in spool.files()] == [b"1", b"2", b"10"]
    assert waiting_in(tmp_path / "study") == {99, 98, 90}
    (spool.folder / "00000004-x.run").write_bytes(b"not ours")
    (spool.folder / "00000005-1.part").write_bytes(b"half")
    assert len(spool.files()) == 3
    spool.close()
    assert len(spool.files()) == 3


def test_an_empty_one_leaves_nothing_behind(tmp_path):
    spool = Spool(tmp_path / "spool" / "study" / "me")
    assert spool.open()
    spool.put(0, 0, b"a").unlink()
    (spool.folder / "00000005-1.part").write_bytes(b"half")
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_what_belongs_to_a_process_that_lives_is_not_taken(tmp_path, other):
    folder = tmp_path / "spool" / "study"
    assert not Spool(folder / "other").open()
    with pytest.raises(PermissionError):
        Spool(folder / "other").put(0, 0, b"a")
    assert list(left_behind(folder)) == []
    assert waiting_in(folder) == {30}
    other.send_signal(signal.SIGKILL)
    other.wait()
    (found,) = [[path.read_bytes() for path in spool.files()] for spool in left_behind(folder)]
    assert found == [b"three"]


def test_one_at_a_time_takes_what_was_left(tmp_path, other):
    other.kill()
    other.wait()
    first = left_behind(tmp_path / "spool" / "study")
    spool = next(first)
    assert list(left_behind(tmp_path / "spool" / "study")) == []
    spool.files()[0].unlink()
    first.close()
    assert list(tmp_path.iterdir()) == []


def test_what_was_set_aside_stays_and_is_not_read_again(tmp_path):
    spool = Spool(tmp_path / "study" / "me")
    spool.open()
    aside = set_aside(spool.put(0, 0, b"garbage"))
    assert spool.files() == []
    spool.close()
    assert aside.read_bytes() == b"garbage"
    assert waiting_in(tmp_path / "study") == set()


def test_where_no_folder_can_be_made_an_error_says_so(tmp_path):
    (tmp_path / "spool").write_text("a file")
    spool = Spool(tmp_path / "spool" / "study" / "me")
    with pytest.raises(OSError, match="Not a directory"):
        spool.put(0, 0, b"a")
    spool.close()


@pytest.mark.parametrize("name", ["../../x", "a/b", "s", "é"])
def test_a_name_never_leaves_the_folder(tmp_path, name):
    folder = spool_dir(compose([f"tracking.dir={tmp_path}"]), name)
    assert folder.parent == tmp_path / "spool"
    assert folder.resolve() == folder
