"""Data files that are broken, and some that only look so."""

import io
import os
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

ROWS, CLASSES = 60, 3
Arrays = Mapping[str, np.ndarray]
Maker = Callable[[Path], None]
"""Makes a file at a path, or something else."""


def good() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(ROWS) % CLASSES
    x = rng.normal(size=(ROWS, 5)).astype(np.float32)
    return {"x_train": x, "y_train": y, "x_test": x[:12], "y_test": y[:12]}


def content(arrays: Arrays, compressed: bool = False) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


def changed(**changes: np.ndarray | None) -> Maker:
    """The good arrays with others in their places; None takes one away."""
    arrays = {key: value for key, value in (good() | changes).items() if value is not None}
    return lambda path: path.write_bytes(content(arrays))


def cut(share: float) -> Maker:
    whole = content(good())
    return lambda path: path.write_bytes(whole[: int(share * len(whole))])


def npy(array: np.ndarray, **header: object) -> bytes:
    """A member's bytes, with another header than its own where that is given."""
    buffer = io.BytesIO()
    own = np.lib.format.header_data_from_array_1_0(array) | header
    np.lib.format.write_array_header_1_0(buffer, own)
    return buffer.getvalue() + array.tobytes()


def archive(
    members: list[tuple[str, bytes]], kind: int = zipfile.ZIP_STORED, after: Callable[[bytes], bytes] = bytes
) -> Maker:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", kind) as opened:
        for name, data in members:
            opened.writestr(name, data)
    return lambda path: path.write_bytes(after(buffer.getvalue()))


def members(**changes: bytes) -> list[tuple[str, bytes]]:
    return [(f"{key}.npy", changes.get(key, npy(array))) for key, array in good().items()]


def claiming(size: int) -> bytes:
    """A header of as many bytes of data, and four of them."""
    return npy(np.zeros(1, np.float32), shape=(size // 20, 5))


def _entries_that_lie(size: int) -> Callable[[bytes], bytes]:
    """Lets the archive's own table claim a member's size as well."""

    def lie(data: bytes) -> bytes:
        start = data.index(b"PK\x01\x02")  # of the table; the first entry's size stands 24 bytes on
        return data[: start + 24] + struct.pack("<I", size) + data[start + 28 :]

    return lie


def _encrypted(data: bytes) -> bytes:
    """Sets the flag of encryption on every entry."""
    found = bytearray(data)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = found.find(mark)
        while at >= 0:
            found[at + offset] |= 1
            at = found.find(mark, at + 4)
    return bytes(found)


def _flipped(data: bytes) -> bytes:
    """One bit of an array's last number: only the checksum knows."""
    at = data.index(b"PK\x03\x04", 4) - 1
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _linked_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


class Loud:
    """Tells by a file that it was unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, ("unpickled",)


LABELS = np.arange(ROWS) % CLASSES
X = good()["x_train"]
HUGE, FOUR_GB, MILLION = 10 * 1000**3, 4 * 1000**3, 10**6
HEADER = 128  # bytes of an array's header
BROKEN: dict[str, Maker] = {
    **{f"cut after {share:.0%}": cut(share) for share in (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.999)},
    "not a zip": lambda path: path.write_text("x_train,y_train\n1,2\n"),
    "a lone npy": lambda path: path.write_bytes(npy(X)),
    "a pickle": lambda path: path.write_bytes(b"\x80\x04cos\nsystem\n(S'mkdir unpickled'\ntR."),
    "an archive of nothing": archive([]),
    "an archive of text": archive([(f"{key}.npy", b"no array") for key in good()]),
    "a folder": lambda path: path.mkdir(),
    "a pipe": lambda path: os.mkfifo(path),
    "a loop of links": _linked_to_itself,
    "a link to nowhere": lambda path: path.symlink_to("nowhere.npz"),
    "a link to an endless device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a folder": lambda path: path.symlink_to("/"),
    "a file that is gone": lambda path: path.unlink(missing_ok=True),
    **{f"no {key}": changed(**{key: None}) for key in good()},
    "other names": archive([(name.upper(), data) for name, data in members()]),
    "names that climb": archive([(f"../../{name}", data) for name, data in members()]),
    "an array twice": archive([*members(), ("x_train", npy(X))]),
    "encrypted": archive(members(), after=_encrypted),
    "a wrong checksum": archive(members(), after=_flipped),
    "10 GB claimed by a header": archive(members(x_train=claiming(HUGE))),
    "4 GB claimed by header and table": archive(
        members(x_train=claiming(FOUR_GB)), after=_entries_that_lie(FOUR_GB + HEADER)
    ),
    "more claimed than can be packed": archive(
        members(x_train=claiming(MILLION)), zipfile.ZIP_DEFLATED, _entries_that_lie(MILLION + HEADER)
    ),
    "a shape below zero": archive(members(x_train=npy(X, shape=(-1, 5)))),
    "a shape beyond all memory": archive(members(x_train=npy(X, shape=(2**62, 2**62)))),
    "less claimed than there is": archive(members(x_train=npy(X, shape=(10, 5)))),
    "a header that is code": archive(members(x_train=npy(X).replace(b"'shape': (60, 5)", b"'shape': exit()  "))),
    "a header without end": archive(members(x_train=b"\x93NUMPY\x01\x00\xff\xff{")),
    "a version of the future": archive(members(x_train=npy(X).replace(b"NUMPY\x01", b"NUMPY\x09"))),
    "pickles inside": changed(x_train=np.array([Loud()] * ROWS, object)),
    "pickled labels": changed(y_train=np.array([Loud()] * ROWS, object)),
    "a pickle in a field": changed(x_train=np.array([(Loud(),)] * ROWS, [("a", object)])),
    "labels as text": changed(y_train=np.array(["cat", "dog", "cow"] * 20)),
    "labels as bytes": changed(y_train=np.array([b"cat", b"dog", b"cow"] * 20)),
    "labels as fractions": changed(y_train=LABELS + 0.5),
    "labels that aren't numbers": changed(y_train=np.where(LABELS == 0, np.nan, LABELS)),
    "labels below zero": changed(y_train=LABELS - 1),
    "labels with a gap": changed(y_train=LABELS * 2),
    "labels beyond the classes": changed(y_test=np.full(12, CLASSES)),
    "labels beyond all integers": changed(y_train=np.where(LABELS == 0, 1e300, LABELS)),
    "labels as dates": changed(y_train=LABELS.astype("datetime64[D]")),
    "labels one-hot": changed(y_train=np.eye(CLASSES)[LABELS]),
    "one label": changed(y_train=np.array(1)),
    "one class only": changed(y_train=np.zeros(ROWS, int), y_test=np.zeros(12, int)),
    "a class of one row": changed(y_train=np.array([2, *[0, 1] * 29, 0])),
    "too few labels": changed(y_train=LABELS[:59]),
    "too many labels": changed(y_train=np.arange(61) % CLASSES),
    "no rows": changed(x_train=X[:0], y_train=LABELS[:0]),
    "no test rows": changed(x_test=X[:0], y_test=LABELS[:0]),
    "no features": changed(x_train=X[:, :0], x_test=X[:12, :0]),
    "two rows": changed(x_train=X[:2], y_train=LABELS[:2]),
    "one axis": changed(x_train=X[:, 0]),
    "five axes": changed(x_train=X[:, :, None, None, None]),
    "a number for an array": changed(x_train=np.array(1.0)),
    "test rows of another width": changed(x_test=X[:12, :4]),
    "NaN": changed(x_train=np.where(X > 2, np.nan, X)),
    "infinity": changed(x_train=np.where(X > 2, np.inf, X)),
    "NaN in the test part": changed(x_test=np.full((12, 5), np.nan)),
    "beyond float32": changed(x_train=X.astype(float) * 1e200),
    "too far apart": changed(x_train=np.where(X > 0, 3e38, -3e38).astype(np.float32)),
    "complex numbers": changed(x_train=X.astype(complex)),
    "dates": changed(x_train=np.zeros((ROWS, 5), "datetime64[s]")),
    "records": changed(x_train=np.zeros(ROWS, [("a", float), ("b", float)])),
    "text for numbers": changed(x_train=X.astype(str)),
    "raw bytes": changed(x_train=np.zeros((ROWS, 5), "V4")),
}  # fmt: skip
"""By what is wrong with it."""

SOUND: dict[str, Maker] = {
    "axes in Fortran's order": changed(x_train=np.asfortranarray(X)),
    "big-endian": changed(x_train=X.astype(">f4"), y_train=LABELS.astype(">i8")),
    "compressed": lambda path: path.write_bytes(content(good(), compressed=True)),
    "double precision": changed(x_train=X.astype(float), x_test=X[:12].astype(float)),
    "labels in a column": changed(y_train=LABELS[:, None]),
    "labels as whole floats": changed(y_train=LABELS.astype(float)),
    "an array more": changed(zz=np.array(["text"])),
}
"""Other forms of the same data."""
