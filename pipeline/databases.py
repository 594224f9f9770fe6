"""Database servers that a study or its runs are kept in."""

__all__ = ["check_database"]

PATIENCE_S = 10


def check_database(url: str) -> None:
    """Connects once. Raises what SQLAlchemy or the driver has to say, and ``ImportError`` without a driver."""
    from sqlalchemy import NullPool, create_engine  # takes a moment, which file stores need not wait for

    options = {"connect_timeout": PATIENCE_S} if url.startswith(("postgresql", "mysql")) else {}
    create_engine(url, poolclass=NullPool, connect_args=options).connect().close()
