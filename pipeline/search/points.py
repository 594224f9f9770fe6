"""The points that a study tries first."""

from collections.abc import Sequence
from typing import Any

from pipeline.config import Config, flatten, plain
from pipeline.config.convert import suggestion
from pipeline.errors import UsageError
from pipeline.search.space import Axis

__all__ = ["first_points"]


def first_points(config: Config, axes: Sequence[Axis]) -> list[dict[str, Any]]:
    """``search.enqueue`` in Optuna's terms, on the axes there are, or ``UsageError``."""
    by_key = {axis.key: axis for axis in axes}
    known = flatten(plain(config))
    points: list[dict[str, Any]] = []
    for i, point in enumerate(config.search.enqueue):
        given = flatten(point)
        for key in given:
            if key not in known:
                raise UsageError.of(f"search.enqueue[{i}].{key}", given[key], f"unknown key{suggestion(key, known)}")
        given = {key: value for key, value in given.items() if key in by_key}
        for key, value in given.items():
            if not by_key[key].contains(value):
                raise UsageError.of(f"search.enqueue[{i}].{key}", value, "must lie on its axis in search.space")
        encoded = {key: by_key[key].encode(value) for key, value in given.items()}
        if encoded and encoded not in points:
            points.append(encoded)
    # A grid holds its own points and visits each once.
    return points if config.search.sampler != "grid" else []
