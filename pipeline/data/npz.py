"""Datasets in a local ``.npz``: arrays ``x_train y_train x_test y_test``.

A file from elsewhere is read with care: nothing is unpickled, and the sizes that array
headers claim are compared with what the archive holds before memory is asked for.
"""

import math
import warnings
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from pipeline.data.raw import Raw, checked_inputs, checked_labels
from pipeline.errors import UsageError

__all__ = ["KEYS", "read_npz"]

KEYS = ("x_train", "y_train", "x_test", "y_test")


def read_npz(path: str) -> Raw:
    """Reads and checks a file. Raises ``UsageError`` for anything it can't train on."""
    file = Path(path).expanduser()
    if not _is_file(file):
        raise UsageError.of("dataset.path", path, f"no such file; it must be an .npz with {', '.join(KEYS)}")
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


def _is_file(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a name too long for the file system
        return False


def _arrays(file: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        members = {name.removesuffix(".npy"): name for name in archive.namelist()}
        for key in KEYS:
            _check_header(archive, members[key], key)
    with np.load(file, allow_pickle=False) as arrays:
        return {key: arrays[key] for key in KEYS}


def _check_header(archive: zipfile.ZipFile, member: str, key: str) -> None:
    with archive.open(member) as stream:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream)
        claimed = math.prod(shape) * dtype.itemsize + stream.tell()
    if dtype.hasobject:
        raise ValueError(f"{key} holds pickled Python objects, which are never loaded")
    held = archive.getinfo(member).file_size
    if claimed != held:
        raise ValueError(f"{key} claims {claimed} bytes, the file holds {held}")
