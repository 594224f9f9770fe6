"""The database behind an MLflow store, where rows of many runs go in or come out at once."""

from typing import Any

from sqlalchemy import Engine, NullPool, create_engine

__all__ = ["engine_of", "is_database"]

# Seconds for which a reader waits for a writer.
PATIENCE_S = 60.0
# When a server of databases is taken to be away, in libpq's words: seconds, and milliseconds.
POSTGRES = {"connect_timeout": 10, "tcp_user_timeout": 20_000}


def is_database(uri: str) -> bool:
    """Whether a store is a database itself, and not a server before one."""
    return not uri.startswith("http")


def engine_of(uri: str, patience_s: float = PATIENCE_S) -> Engine:
    """Connections to a store's database, each closed after its use.

    Args:
        patience_s: how long one waits while SQLite's file is locked.
    """
    arguments: dict[str, Any] = {}
    if uri.startswith("sqlite"):
        arguments = {"timeout": patience_s}
    elif uri.startswith(("postgresql://", "postgresql+psycopg")):
        arguments = POSTGRES
    return create_engine(uri, poolclass=NullPool, connect_args=arguments)
