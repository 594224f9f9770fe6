"""Addresses and paths that a configuration may name, checked before any library reads them.

Libraries read a URI differently where a password holds what belongs into one as ``%40`` and
the like, and put what they took for a host or a port into their messages. What passes here
they all read alike.
"""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

__all__ = ["FilePath", "StorageAddress", "TrackingAddress", "checked_tracking_uri", "file_of"]

DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
SERVERS = (*DATABASES, "http", "https")
ESCAPES = "in a user or a password write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and a space as %20"
HOST = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]]*)(:(?P<port>\d{1,5}))?")
MOST_NAME, MOST_PATH = 255, 4000


def _checked_uri(uri: str, schemes: tuple[str, ...]) -> str:
    """``uri``, if every library reads it alike and its scheme (``postgresql+psycopg``) begins with one of ``schemes``.

    Raises:
        ValueError: with what is allowed instead.
    """
    scheme, _, rest = uri.partition("://")
    if scheme.partition("+")[0] not in schemes or not re.fullmatch(r"[a-z]+(\+[a-z0-9_]+)?", scheme):
        raise ValueError(f"must be one of {', '.join(f'{s}://...' for s in schemes)}")
    if re.search(r"\s", uri):
        raise ValueError(f"must hold no space; {ESCAPES}")
    if scheme.startswith("sqlite"):
        if not rest.startswith("/") or not re.split(r"[?#]", rest)[0].strip("/") or ":memory:" in rest:
            raise ValueError("names no file: it must be sqlite:///PATH")
        return uri
    place, behind = re.match(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    if "@" in behind or place.count("@") > 1:
        raise ValueError(f"must hold an @ before its host alone; {ESCAPES}")
    user, _, hosts = place.rpartition("@")
    found = [HOST.fullmatch(host) for host in hosts.split(",")]
    if user.count(":") > 1 or not all(found) or any(int(f["port"] or 0) > 65535 for f in found if f):
        raise ValueError(f"must be SCHEME://USER@HOST:PORT/...; {ESCAPES}")
    if scheme.startswith("http") and not hosts.partition(":")[0]:
        raise ValueError("names no host")
    return uri


def file_of(address: str) -> Path | None:
    """The file that a path or the URL of a sqlite database names; None for a server."""
    if "://" not in address:
        return Path(address)
    return Path(address.partition(":///")[2].partition("?")[0]) if address.startswith("sqlite") else None


def checked_tracking_uri(uri: str) -> str:
    """``uri``, if MLflow's client can be given it; else ``ValueError``."""
    return _checked_uri(uri, SERVERS)


def _storage(place: str) -> str:
    return _checked_uri(place, DATABASES) if "://" in place else _path(place)


def _path(text: str) -> str:
    if not 1 <= len(text) <= MOST_PATH:
        raise ValueError(f"must have 1 to {MOST_PATH} characters")
    if any(len(part.encode(errors="replace")) > MOST_NAME for part in text.split("/")):
        raise ValueError(f"must have at most {MOST_NAME} bytes between two slashes")
    return text


FilePath = Annotated[str, AfterValidator(_path)]
TrackingAddress = Annotated[str, AfterValidator(checked_tracking_uri)]
StorageAddress = Annotated[str, AfterValidator(_storage)]
