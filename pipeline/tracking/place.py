"""Where the MLflow store is, and whether it can be used: of one that is still to be made, without MLflow."""

import os
import socket
from base64 import b64encode
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import Request, urlopen

from pipeline.config import Config, checked_tracking_uri, file_of, masked
from pipeline.databases import check_database, database_is_away
from pipeline.errors import RunError, StoreAwayError, UsageError
from pipeline.folders import check_writable
from pipeline.masking import one_line

__all__ = ["STATUSES", "check_store", "check_there", "directory_of", "shown_host", "store_uri", "ui_address"]

VARIABLE = "MLFLOW_TRACKING_URI"
# What a server answers that may well answer otherwise later.
STATUSES = frozenset({408, 429, 500, 502, 503, 504})
EVERYWHERE = ("0.0.0.0", "::")


def directory_of(config: Config) -> Path:
    """``tracking.dir``, whole."""
    return Path(config.tracking.dir).resolve()


def store_uri(config: Config) -> str:
    """``tracking.uri``, else ``MLFLOW_TRACKING_URI``, else sqlite under ``tracking.dir``.

    Raises:
        UsageError: what the environment has is no address of a store.
    """
    given = config.tracking.uri or os.environ.get(VARIABLE)
    if not given:
        return f"sqlite:///{directory_of(config)}/mlflow.db"
    try:
        return checked_tracking_uri(given)
    except ValueError as error:
        raise UsageError.of(_key(config), given, str(error)) from None


def _key(config: Config) -> str:
    """What names the store."""
    return "tracking.uri" if config.tracking.uri else VARIABLE if os.environ.get(VARIABLE) else "tracking.dir"


def ui_address(config: Config) -> str:
    """Where the MLflow UI is: at a server's own address, else where ``initlab ui`` serves it; no password in it."""
    uri = store_uri(config)
    if not uri.startswith("http"):
        host = shown_host(config)
        return f"http://{f'[{host}]' if ':' in host else host}:{config.tracking.port}"
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def shown_host(config: Config) -> str:
    """A name under which others find ``tracking.host``."""
    return socket.gethostname() if config.tracking.host in EVERYWHERE else config.tracking.host


def check_store(config: Config) -> None:
    """Finds out cheaply, before anything is trained, whether the store can be used. Makes nothing.

    Raises:
        UsageError: the folder can't be written.
        RunError: no server answers.
    """
    uri = store_uri(config)
    file = file_of(uri)
    if file is None:
        _check_answers(uri, _key(config))
        _open(config)
        return
    check_writable(directory_of(config), "tracking.dir", config.tracking.dir)
    if file.is_file():
        _open(config)
    elif file.exists():
        raise UsageError.of(_key(config), masked(uri), "is no file")
    else:
        check_writable(file.parent, _key(config), masked(uri))


def check_there(config: Config) -> None:
    """Finds out at once whether there is a store; MLflow would try for minutes, or make one.

    Raises:
        UsageError: there is no such file.
        StoreAwayError: no server answers.
        RunError: what answers is none.
    """
    uri = store_uri(config)
    file = file_of(uri)
    if file is None:
        _check_answers(uri, _key(config))
    elif not file.is_file():
        given = config.tracking.dir if _key(config) == "tracking.dir" else masked(uri)
        raise UsageError.of(_key(config), given, "there is no MLflow store yet: `make sweep` begins one")


def _check_answers(uri: str, key: str) -> None:
    """Raises ``RunError`` if the server of a store doesn't answer."""
    if uri.startswith("http"):
        _check_server(uri)
        return
    try:
        check_database(uri)
    except ImportError as error:
        raise UsageError.of(key, uri, f"the driver of this database isn't installed ({error})") from None
    except Exception as error:  # SQLAlchemy's, the driver's
        reason = one_line(str(error).partition("\n")[0])[:150]
        kind = StoreAwayError if database_is_away(error) else RunError
        raise kind(f"the MLflow store {masked(uri)} can't be opened ({reason})") from None


def _check_server(uri: str) -> None:
    parts = urlsplit(uri)
    user, at, place = parts.netloc.rpartition("@")
    request = Request(urlunsplit((parts.scheme, place, f"{parts.path.rstrip('/')}/health", "", "")))
    if at:  # which urllib would take for a part of the host
        request.add_header("Authorization", f"Basic {b64encode(unquote(user).encode()).decode()}")
    try:
        urlopen(request, timeout=10).close()
    except (OSError, HTTPException) as error:
        status = None
        if isinstance(error, HTTPError):
            status = error.code
            error.close()  # it is the answer, with its connection
        if status in (401, 403):
            return  # one that wants to know who asks, as MLflow's client will tell
        reason = getattr(error, "reason", error)
        kind = StoreAwayError if status is None or status in STATUSES else RunError
        raise kind(f"no MLflow server answers at {masked(uri)} ({reason})") from None


def _open(config: Config) -> None:
    from pipeline.tracking.store import open_store  # MLflow takes seconds to import

    open_store(config)
