"""Broken data files: exit 2, at most two lines, no traceback, nothing written, nothing run, and no memory taken."""

import os
import random
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from attempts import Attempt, attempt, files, run_command
from files import BROKEN, SOUND, content, good, members
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from laboratory import SEED

from pipeline.data import read_npz
from pipeline.provenance import override

QUICK = ["dataset=npz", "trainer.batch_size=8", "model.width=4", "trainer.epochs=1"]
FLIPS = 100


def of(verb: str, path: Path | str) -> list[str]:
    return [verb, *QUICK, override("dataset.path", str(path))]


@pytest.mark.parametrize("case", BROKEN)
def test_refused(case, tmp_path):
    BROKEN[case](tmp_path / "data.npz")
    found = attempt(
        of(random.Random(f"{SEED} {case}").choice(["sweep", "train", "diagnose"]), tmp_path / "data.npz"), tmp_path
    )
    assert not found.trouble, found.trouble
    assert "initlab: dataset" in found.err
    assert not (tmp_path / "unpickled").exists()


def test_enough_of_them():
    print(f"{len(BROKEN)} broken data files: exit 2, at most two lines, no traceback, nothing written")
    assert len(BROKEN) >= 40


@pytest.mark.parametrize("case", SOUND)
def test_other_forms_of_the_same_data_give_the_same_numbers(case, tmp_path):
    SOUND[case](tmp_path / "data.npz")
    (tmp_path / "plain.npz").write_bytes(content(good()))
    found, plain = read_npz(str(tmp_path / "data.npz")), read_npz(str(tmp_path / "plain.npz"))
    assert found.digest() == plain.digest()
    assert found.x.strides == plain.x.strides
    assert attempt(of("diagnose", tmp_path / "data.npz"), tmp_path).code == 0


LIMITED = """
import resource, sys
from pipeline.data import read_npz
from pipeline.errors import UsageError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_npz(sys.argv[1])
except UsageError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize("case", [case for case in BROKEN if "claimed" in case])
def test_what_is_only_claimed_takes_no_memory(case, tmp_path):
    BROKEN[case](tmp_path / "data.npz")
    command = [sys.executable, "-c", LIMITED, "data.npz"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
    said, taken = done.stdout.splitlines()
    assert "claims" in said
    assert int(taken) < 50_000  # KiB


def test_what_unpacks_to_more_than_there_is(tmp_path):
    """A gigabyte of zeros a step in a file of a few megabytes, honest in all its tables."""
    free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    rows = free // 2 // 20
    with zipfile.ZipFile(tmp_path / "data.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in members()[1:]:
            archive.writestr(name, data)
        with archive.open("x_train.npy", "w", force_zip64=True) as stream:
            header = {"descr": "<f4", "fortran_order": False, "shape": (rows, 5)}
            np.lib.format.write_array_header_1_0(stream, header)
            left, block = rows * 20, bytes(1 << 24)
            while left:
                left -= stream.write(block[: min(left, len(block))])
    found = attempt(of("train", tmp_path / "data.npz"), tmp_path)
    assert not found.trouble, found.trouble
    assert "GB of memory" in found.err


NAMES = [
    "it's.npz",
    'a "b".npz',
    "a b=c,d.npz",
    "${x}.npz",
    "[1].npz",
    "<b>é<b>.npz",
    "\\.npz",
    "~.npz",
    "-.npz",
    "a;b&c.npz",
]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_of_sound_files(name, tmp_path):
    (tmp_path / name).write_bytes(content(good()))
    found = attempt(of("diagnose", name), tmp_path)
    # A name that Hydra can't be given is refused as any other mistake.
    assert found.code == 0 or not found.trouble, found
    assert found.code == 0 or name[0] in "$~"


@pytest.mark.parametrize("name", [b"a\nb.npz", b"\xff\xfe.npz", b"a\x1b[31m.npz", b"x" * 250 + b".npzzz", b"a/" * 3000])
def test_names_that_are_no_text(name, tmp_path):
    if len(name) < 250:
        Path(os.fsdecode(os.path.join(os.fsencode(tmp_path), name))).write_bytes(content(good()))  # noqa: PTH118
    before = files(tmp_path)
    done = run_command("train", f"dataset.path='{os.fsdecode(name)}'", cwd=tmp_path)
    found = Attempt(done.returncode, done.stdout, done.stderr, sorted(files(tmp_path) - before))
    assert not found.trouble, found.trouble


@pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root reads everything; needs setpriv"
)
def test_without_permission(tmp_path):
    (tmp_path / "data.npz").write_bytes(content(good()))
    (tmp_path / "data.npz").chmod(0)
    code = f"import sys; from pipeline.data import read_npz; read_npz({str(tmp_path / 'data.npz')!r})"
    drop = ["setpriv", "--reuid=65534", "--clear-groups", "--"] if os.geteuid() == 0 else []
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    done = subprocess.run([*drop, sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert "UsageError: dataset.path=" in done.stderr
    assert "Permission denied" in done.stderr


def test_flipped_bytes(tmp_path):
    whole = content(good())
    codes = []

    @seed(SEED)
    @settings(max_examples=FLIPS, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(1, 255)), min_size=1, max_size=4))
    def either_read_or_refused(flips):
        found = bytearray(whole)
        for at, by in flips:
            found[at] ^= by
        path = tmp_path / f"{len(codes)}.npz"  # what was read once under a name isn't read again
        path.write_bytes(found)
        done = attempt(of("diagnose", path), tmp_path)
        assert done.code == 0 or not done.trouble, (flips, done.trouble)
        codes.append(done.code)

    either_read_or_refused()
    counts = f"{codes.count(2)} refused, {codes.count(0)} read"
    print(f"{len(codes)} files with flipped bytes (INITLAB_FAULT_SEED={SEED}): {counts}")
    assert codes.count(2) > FLIPS // 4
