"""Datasets in a local ``.npz``: arrays ``x_train y_train x_test y_test``.

A file from elsewhere is read with care: nothing is unpickled or unpacked to disk, and what
array headers claim is compared with what the archive can hold, and with the memory there is,
before any is asked for.
"""

import math
import stat
import warnings
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from pipeline.data.raw import Raw, checked_inputs, checked_labels
from pipeline.errors import UsageError
from pipeline.free import free_bytes

__all__ = ["KEYS", "read_npz"]

KEYS = ("x_train", "y_train", "x_test", "y_test")
# Deflate makes at most 1032 bytes of one; the header of a stream takes some.
EXPANSION, SOME = 1032, 1024
# In memory the arrays are held as they come, as float32, and split.
COPIES = 4


def read_npz(path: str) -> Raw:
    """Reads and checks a file. Raises ``UsageError`` for anything it can't train on."""
    file = _file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            arrays = _arrays(file)
    except KeyError as error:
        raise UsageError.of("dataset.path", path, f"has no array {error.args[0]}; needs {', '.join(KEYS)}") from None
    except Exception as error:  # zip, compression, numpy: a broken file makes each raise kinds of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError.of("dataset.path", path, f"not a readable .npz of plain arrays ({reason[:150]})") from None
    x, x_test = (checked_inputs(path, key, arrays[key]) for key in ("x_train", "x_test"))
    if x.shape[1:] != x_test.shape[1:]:
        given = f"x_train rows are {x.shape[1:]}, x_test rows {x_test.shape[1:]}"
        raise UsageError.of("dataset.path", path, f"{given}; they must have one shape")
    y = checked_labels(path, "y_train", arrays["y_train"], len(x))
    y_test = checked_labels(path, "y_test", arrays["y_test"], len(x_test), int(y.max()) + 1)
    return Raw(file.stem, x, y, x_test, y_test)


def _file(path: str) -> Path:
    """The path, if it names a file: reading from a pipe or a device might never end."""
    needed = f"it must be an .npz with {', '.join(KEYS)}"
    try:
        file = Path(path).expanduser()
        mode = file.stat().st_mode
    except (OSError, RuntimeError) as error:  # also a name too long, a loop of links, a user without a home
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError.of("dataset.path", path, f"no such file ({reason}); {needed}") from None
    if not stat.S_ISREG(mode):
        raise UsageError.of("dataset.path", path, f"is no file but a folder, a pipe or a device; {needed}")
    return file


def _arrays(file: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        members = _members(archive)
        claimed = sum(_claimed(archive, members[key], key, file.stat().st_size) for key in KEYS)
        if COPIES * claimed > (free := free_bytes()):
            raise ValueError(f"it would take {COPIES * claimed / 1e9:.3g} GB of memory, {free / 1e9:.3g} GB are free")
        return {key: _array(archive, members[key]) for key in KEYS}


def _members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The archive's entry of each array."""
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in archive.infolist():
        key = entry.filename.removesuffix(".npy")
        if key in found and key in KEYS:
            raise ValueError(f"{key} is there twice")
        found[key] = entry
    return found


def _claimed(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, key: str, size: int) -> int:
    """The bytes of an array, if its header, its entry and the file agree about them."""
    with archive.open(entry) as stream:
        shape, dtype = _header(stream)
        claimed = math.prod(shape) * dtype.itemsize + stream.tell()
    if dtype.hasobject:
        raise ValueError(f"{key} holds pickled Python objects, which are never loaded")
    if claimed != entry.file_size:
        raise ValueError(f"{key} claims {claimed} bytes, the file holds {entry.file_size}")
    packed = min(entry.compress_size, size)
    if claimed > (packed if entry.compress_type == zipfile.ZIP_STORED else EXPANSION * packed + SOME):
        raise ValueError(f"{key} claims {claimed} bytes, the {packed} in the file can't hold them")
    return claimed


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(stream)
    if any(size < 0 for size in shape):
        raise ValueError(f"a shape of {shape}")
    return shape, dtype


def _array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(entry) as stream:
        found: np.ndarray = npy.read_array(stream, allow_pickle=False)
        stream.read()  # to the end, where the checksum is compared
    return found
