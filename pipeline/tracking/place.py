"""Where the MLflow store is, and whether it can be used: of one that is still to be made, without MLflow."""

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from urllib.request import urlopen

from pipeline.config import Config, masked
from pipeline.errors import RunError, UsageError
from pipeline.folders import make_writable

__all__ = ["check_store", "directory_of", "store_uri", "ui_address"]

SCHEMES = ("sqlite", "postgresql", "mysql", "mssql", "http", "https")


def directory_of(config: Config) -> Path:
    """``tracking.dir``, whole."""
    return Path(config.tracking.dir).resolve()


def store_uri(config: Config) -> str:
    """``tracking.uri``, else ``MLFLOW_TRACKING_URI``, else sqlite under ``tracking.dir``.

    Raises:
        UsageError: a scheme that MLflow's stores don't have.
    """
    given = config.tracking.uri
    key, uri = ("tracking.uri", given) if given else ("MLFLOW_TRACKING_URI", os.environ.get("MLFLOW_TRACKING_URI"))
    if not uri:
        return f"sqlite:///{directory_of(config)}/mlflow.db"
    scheme = uri.split("://")[0].split("+")[0]
    if "://" not in uri or scheme not in SCHEMES:
        raise UsageError.of(key, masked(uri), f"must be one of {', '.join(f'{s}://...' for s in SCHEMES)}")
    return uri


def ui_address(config: Config) -> str:
    """Where the MLflow UI is: at a server's own address, else where ``initlab ui`` serves it; no password in it."""
    uri = store_uri(config)
    if not uri.startswith("http"):
        return f"http://127.0.0.1:{config.tracking.port}"
    parts = urlsplit(uri)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path.rstrip("/"), "", ""))


def check_store(config: Config) -> None:
    """Finds out cheaply, before anything is trained, whether the store can be used.

    Raises:
        UsageError: the folder can't be written.
        RunError: no server answers.
    """
    uri = store_uri(config)
    if uri.startswith("http"):
        try:
            urlopen(f"{ui_address(config)}/health", timeout=10).close()
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise RunError(f"no MLflow server answers at {masked(uri)} ({reason})") from None
    if not uri.startswith("sqlite"):
        _open(config)
        return
    place = uri.removeprefix("sqlite:///")
    if not place or place == uri:
        raise UsageError.of("tracking.uri", masked(uri), "names no file: it must be sqlite:///PATH")
    if Path(place).is_file():
        _open(config)
    make_writable(directory_of(config), "tracking.dir", config.tracking.dir)


def _open(config: Config) -> None:
    from pipeline.tracking.store import open_store  # MLflow takes seconds to import

    open_store(config)
