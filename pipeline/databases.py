"""Databases that a study or its runs are kept in: how they are connected to, and when they are away.

SQLAlchemy takes a moment to import, which those who need no database need not wait for.
"""

import re
import sqlite3
from typing import Any

__all__ = ["PATIENCE_S", "check_database", "database_is_away", "options"]

# Seconds for which one who wants SQLite's file waits for another.
PATIENCE_S = 60.0
# When a server is taken to be away: seconds, and in libpq's words milliseconds.
POSTGRES = {"connect_timeout": 10, "tcp_user_timeout": 20_000}
MYSQL = {"connect_timeout": 10}
# Of SQLite's errors of operation; others, as a table that isn't there, stay.
SQLITE = re.compile("locked|busy|readonly|disk I/O error|is full|unable to open")


def options(url: str, patience_s: float = PATIENCE_S) -> dict[str, Any]:
    """What the driver of a database is told.

    Args:
        patience_s: how long one waits while SQLite's file is locked.
    """
    if url.startswith("sqlite"):
        return {"timeout": patience_s}
    if url.startswith(("postgresql://", "postgresql+psycopg")):
        return dict(POSTGRES)
    return dict(MYSQL) if url.startswith("mysql") else {}


def check_database(url: str) -> None:
    """Connects once. Raises what SQLAlchemy or the driver has to say, and ``ImportError`` without a driver."""
    from sqlalchemy import NullPool, create_engine

    create_engine(url, poolclass=NullPool, connect_args=options(url)).connect().close()


def database_is_away(error: BaseException) -> bool:
    """Whether an error of SQLAlchemy's says that the database may well work later."""
    from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError

    if isinstance(error, TimeoutError):  # of the pool
        return True
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.Error):
        return isinstance(error, OperationalError) and SQLITE.search(str(error.orig)) is not None
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)
