"""Which failures of a store pass by themselves, what is said of them, and calls that wait for the store.

A store that is away, slow, locked or full is *transient*: what was to be written is kept and
written later. A run that the store refuses is not.
"""

import errno
import re
import sqlite3
from collections.abc import Iterator

import requests
from mlflow.exceptions import MlflowException, RestException
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from pipeline.databases import database_is_away
from pipeline.errors import StoreAwayError
from pipeline.tracking.place import STATUSES

__all__ = ["is_transient", "reason_of"]

ERRNOS = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EIO,
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.ESTALE,
        errno.EAGAIN,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOTCONN,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
    }
)
# Of MLflow's, where it hides what it met: a page of a proxy, a file that is there and didn't come.
HIDDEN = ("not in a valid JSON format", "Failed to download artifacts from", "failures occurred while downloading")
# How libraries speak of what the operating system told them; their texts also hold addresses and passwords.
TOLD = re.compile(
    "connection refused|connection reset|timed out|remote end closed|broken pipe|name or service not known"
    "|network is unreachable|no route to host|not in a valid json format|temporary failure in name resolution",
    re.IGNORECASE,
)


def is_transient(error: BaseException) -> bool:
    """Whether the same call may well succeed later."""
    if isinstance(error, StoreAwayError):
        return True
    if isinstance(error, MlflowException):
        return _is_transient_of_mlflow(error)
    if isinstance(error, requests.RequestException):  # these are OSErrors too
        return error.response is None or error.response.status_code in STATUSES
    if isinstance(error, SQLAlchemyError):
        return database_is_away(error)
    if isinstance(error, OSError):
        return isinstance(error, ConnectionError | TimeoutError) or error.errno in ERRNOS
    return False


def _is_transient_of_mlflow(error: MlflowException) -> bool:
    if isinstance(error, RestException):
        return _code(error) in STATUSES
    # MLflow wraps what it met; of a request it keeps no cause, only the context.
    cause = error.__cause__ or error.__context__
    if isinstance(cause, requests.RequestException | SQLAlchemyError | OSError):
        return is_transient(cause)
    if isinstance(cause, MlflowException) and is_transient(cause):
        return True  # a request that failed, told as if an argument were wrong
    # Its code for anything it has no code for stands for 500 as well.
    return _code(error) in STATUSES - {500} or any(text in str(error) for text in HIDDEN)


def reason_of(error: BaseException) -> str:
    """Why a call failed, in a few words that hold no address and no password."""
    chain = list(_chain(error))
    for found in reversed(chain):
        if isinstance(found, OSError) and found.strerror:
            return found.strerror.lower()
        if isinstance(found, DBAPIError) and isinstance(found.orig, sqlite3.Error):
            return str(found.orig)
    for found in chain:
        if (status := _status(found)) is not None:
            return f"HTTP {status}"
        if (told := TOLD.search(str(found))) is not None:
            return told[0].lower()
    return type(chain[-1]).__name__


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _status(error: BaseException) -> int | None:
    """The status that a server answered, if it answered one."""
    if (response := getattr(error, "response", None)) is not None:
        return int(response.status_code)
    if (many := re.search(r"too many (\d{3}) error", str(error))) is not None:
        return int(many[1])
    if isinstance(error, RestException):
        return _code(error)
    return None


def _code(error: MlflowException) -> int:
    """The HTTP status that MLflow's code for an error stands for."""
    return int(error.get_http_status_code())  # type: ignore[no-untyped-call]
