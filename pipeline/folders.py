"""Folders that the lab is about to write to."""

import os
from pathlib import Path

from pipeline.errors import UsageError

__all__ = ["make_writable", "unwritable"]


def make_writable(folder: Path, key: str, given: object) -> None:
    """Makes a folder where it is missing.

    Args:
        key, given: the key of the configuration that names it, and its value.

    Raises:
        UsageError: it can't be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(key, given, error) from None
    if not os.access(folder, os.W_OK):
        raise unwritable(key, given, PermissionError(13, "permission denied"))


def unwritable(key: str, given: object, error: OSError) -> UsageError:
    """What is said of a folder that can't be written to."""
    return UsageError.of(key, given, f"can't be written ({error.strerror})")
