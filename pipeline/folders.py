"""Folders that the lab writes to."""

import errno
import os
from pathlib import Path

from pipeline.errors import UsageError

# What file systems say that can't synchronise a folder by itself.
UNSETTLED = (errno.EINVAL, errno.EBADF, errno.ENOTSUP)

__all__ = ["check_writable", "make_writable", "settle", "unwritable"]


def check_writable(folder: Path, key: str, given: object) -> None:
    """Finds out whether a folder can be written to, or made where it is missing; makes nothing.

    Args:
        key, given: the key of the configuration that names it, and its value.

    Raises:
        UsageError: it can't.
    """
    try:
        place = _nearest(folder.absolute())
    except OSError as error:
        raise unwritable(key, given, error) from None
    if not place.is_dir():
        raise unwritable(key, given, NotADirectoryError(20, "not a folder"))
    if not os.access(place, os.W_OK | os.X_OK):
        raise unwritable(key, given, PermissionError(13, "permission denied"))


def _nearest(folder: Path) -> Path:
    """The folder, or the first above it that is there."""
    for place in (folder, *folder.parents):
        try:
            place.stat()
        except FileNotFoundError:
            if place.is_symlink():
                raise FileNotFoundError(2, "a link to nowhere") from None
        else:
            return place
    raise FileNotFoundError(2, "no such folder")


def make_writable(folder: Path, key: str, given: object) -> None:
    """Makes a folder where it is missing.

    Args:
        key, given: as for :func:`check_writable`.

    Raises:
        UsageError: it can't be made or written to.
    """
    check_writable(folder, key, given)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(key, given, error) from None


def unwritable(key: str, given: object, error: OSError) -> UsageError:
    """What is said of a folder that can't be written to."""
    return UsageError.of(key, given, f"can't be written ({error.strerror})")


def settle(*paths: Path) -> None:
    """Has what is in files, and the names in folders, on the disk: it outlasts a loss of power."""
    for path in paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        except OSError as error:
            if not path.is_dir() or error.errno not in UNSETTLED:
                raise
        finally:
            os.close(handle)
