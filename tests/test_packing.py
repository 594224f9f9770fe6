"""A run as a file: what comes out is what went in, or the file is called damaged."""

import io
import json
import pickle
import zipfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_runs import run_of
from mlflow.entities import Metric

from pipeline.tracking.packing import META, DamagedError, pack, unpack

FINITE = st.floats(allow_nan=False, allow_infinity=False)


def same(a, b):
    assert vars(a.inputs.dataset) == vars(b.inputs.dataset)
    assert [vars(tag) for tag in a.inputs.tags] == [vars(tag) for tag in b.inputs.tags]
    for name in ("params", "metrics"):
        assert [vars(x) for x in getattr(a, name)] == [vars(x) for x in getattr(b, name)]
    for name in ("name", "status", "started", "ended", "tags", "artifacts", "run_id"):
        assert getattr(a, name) == getattr(b, name)


@pytest.mark.parametrize("value", [0.25, None])
def test_what_comes_out_is_what_went_in(value):
    run = run_of(7, value=value)
    same(unpack(pack(run)), run)


@settings(max_examples=50, deadline=None)
@given(name=st.text(max_size=250), values=st.lists(FINITE, max_size=5), content=st.binary(max_size=2000))
def test_whatever_went_in(name, values, content):
    run = run_of(1)
    object.__setattr__(run, "name", name)
    object.__setattr__(run, "metrics", [Metric("m", value, 5, i) for i, value in enumerate(values)])
    object.__setattr__(run, "artifacts", {"layers.parquet": content})
    same(unpack(pack(run)), run)


def test_a_file_that_was_cut_off_is_damaged_wherever_it_was():
    whole = pack(run_of(1))
    for length in range(0, len(whole), 7):
        with pytest.raises(DamagedError):
            unpack(whole[:length])


@settings(max_examples=300, deadline=None)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_found_or_changes_nothing(where, bit):
    run = run_of(1)
    content = bytearray(pack(run))
    content[int(where * len(content))] ^= 1 << bit
    try:
        found = unpack(bytes(content))
    except DamagedError:
        return
    same(found, run)


def changed(**entries):
    """The file of a run whose ``run.json`` says something else."""
    with zipfile.ZipFile(io.BytesIO(pack(run_of(1)))) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    meta = json.loads(members[META]) | entries
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in (members | {META: json.dumps(meta).encode()}).items():
            archive.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "entries",
    [
        {"artifacts": ["../../../etc/passwd"]},
        {"artifacts": ["/etc/passwd"]},
        {"artifacts": ["not there"]},
        {"artifacts": ["not_there"]},
        {"status": "RUNNING"},
        {"run_id": "../x"},
        {"started": "yesterday"},
        {"started": float("nan")},
        {"metrics": [["a", float("inf"), 1, 1]]},
        {"metrics": [["a", 1.0, 1]]},
        {"metrics": 5},
        {"tags": {"a": 1}},
        {"dataset": {"name": "a"}},
        {"dataset": {"colour": "red"}},
        {"more": 1},
    ],
    ids=str,
)
def test_what_it_says_is_checked(entries):
    unpack(changed())
    with pytest.raises(DamagedError):
        unpack(changed(**entries))


class Evil:
    def __reduce__(self):
        return print, ("run from a file",)


@pytest.mark.parametrize("content", [pickle.dumps(Evil()), b"", b"PK\x05\x06" + bytes(18), b"\0" * 100], ids=len)
def test_what_is_no_run_is_damaged(content, capsys):
    with pytest.raises(DamagedError):
        unpack(content)
    assert capsys.readouterr().out == ""


def test_an_archive_that_claims_to_be_vast_is_not_unpacked():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(META, bytes(1 << 20))
    claimed = buffer.getvalue().replace((1 << 20).to_bytes(4, "little"), (3 << 30).to_bytes(4, "little"))
    with pytest.raises(DamagedError):
        unpack(claimed)
