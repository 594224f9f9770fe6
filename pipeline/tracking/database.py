"""The database behind an MLflow store, where rows of many runs go in or come out at once."""

from typing import Any

from sqlalchemy import Engine, NullPool, create_engine

from pipeline.tracking.store import Store

__all__ = ["engine_of", "is_database"]

# Seconds for which a writer waits for another one.
PATIENCE_S = 60.0


def is_database(store: Store) -> bool:
    """Whether the store is a database itself, and not a server before one."""
    return not store.uri.startswith("http")


def engine_of(store: Store) -> Engine:
    """Connections to the store's database, each closed after its use."""
    options: dict[str, Any] = {"connect_args": {"timeout": PATIENCE_S}} if store.uri.startswith("sqlite") else {}
    return create_engine(store.uri, poolclass=NullPool, **options)
