"""What keeps a row from being measured here, as a value for the table."""

__all__ = ["UnavailableError"]


class UnavailableError(Exception):
    """A row can't be measured on this machine or with this engine; the message says why."""
