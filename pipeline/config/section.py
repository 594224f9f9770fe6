"""What every part of the typed configuration is made of."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict

__all__ = ["Section", "one_of"]


def one_of(value: str, allowed: object) -> str:
    """``value``, if it is among the names ``allowed``; else ``ValueError`` with all of them."""
    names = sorted(allowed)  # type: ignore[call-overload]
    if value not in names:
        raise ValueError(f"must be one of {', '.join(names)}")
    return value


class Section(BaseModel):
    """Immutable, exactly these keys, no coercion, no NaN.

    Attributes:
        source: the YAML file in ``conf/`` that a whole configuration starts from.
    """

    source: ClassVar[str] = ""
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)
