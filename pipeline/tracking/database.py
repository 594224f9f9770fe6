"""The database behind an MLflow store, where rows of many runs go in or come out at once."""

from sqlalchemy import Engine, NullPool, create_engine

from pipeline.databases import PATIENCE_S, options

__all__ = ["engine_of", "is_database"]


def is_database(uri: str) -> bool:
    """Whether a store is a database itself, and not a server before one."""
    return not uri.startswith("http")


def engine_of(uri: str, patience_s: float = PATIENCE_S) -> Engine:
    """Connections to a store's database, each closed after its use.

    Args:
        patience_s: how long one waits while SQLite's file is locked.
    """
    return create_engine(uri, poolclass=NullPool, connect_args=options(uri, patience_s))
