"""The search space: axes of the configuration, and how Optuna sees them.

An axis may be logarithmic and hold exact 0 besides. Optuna has no such distribution, so
the axis is made longer below ``low`` by a stretch that holds ``ZERO_SHARE`` of it, and
everything there means 0: next to the smallest values, where 0 belongs, for any sampler.
A trial's true values stand in its user attribute ``values``.

An axis of arms is a choice between named settings of several keys at once.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from pipeline.config import Config, flatten, plain, to_yaml, with_values
from pipeline.errors import UsageError
from pipeline.init import BIASES, WEIGHTS

__all__ = ["Axis", "axes_of", "ends_of", "inert_axes", "settings"]

ZERO_SHARE = 0.1
LARGEST = sys.float_info.max
FIELDS = {"low", "high", "log", "zero", "int", "choices", "arms"}
PART_OF_NO_RUN = ("search", "study", "tracking", "report", "launcher", "seed", "dataset", "device", "allow_custom_code")


@dataclass(frozen=True)
class Axis:
    """One key of the configuration to search over: ``choices``, or ``low`` to ``high``.

    Attributes:
        arms: of an axis of arms, ``{label: {key: value}}``; its ``choices`` are the labels
            and its ``key`` is a free name.
    """

    key: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    zero: bool = False
    integer: bool = False
    choices: tuple[Any, ...] = ()
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def _floor(self) -> float:
        """Where the stretch that means 0 begins."""
        if not self.zero:
            return self.low
        stretch = ZERO_SHARE / (1 - ZERO_SHARE)
        return float(self.low * (self.low / self.high) ** stretch)

    @property
    def distribution(self) -> BaseDistribution:
        if self.choices:
            return CategoricalDistribution(self.choices)
        if self.integer:
            return IntDistribution(round(self.low), round(self.high), log=self.log)
        return FloatDistribution(self._floor, self.high, log=self.log)

    def decode(self, raw: Any) -> Any:
        """What the configuration gets for Optuna's value."""
        return 0.0 if self.zero and raw < self.low else raw

    def encode(self, value: Any) -> Any:
        """What Optuna gets for a value of the configuration."""
        if self.zero and value == 0:
            return self._floor
        return value

    def settings(self, value: Any) -> dict[str, Any]:
        """The keys of the configuration that a value of this axis sets."""
        return dict(self.arms[value]) if self.arms else {self.key: value}

    def contains(self, value: Any) -> bool:
        if self.choices:
            return value in self.choices
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return bool((self.zero and value == 0) or self.low <= value <= self.high)

    def grid(self, points: int) -> list[Any]:
        """``points`` values from low to high, in Optuna's terms; 0 in addition."""
        if self.choices:
            return list(self.choices)
        spaced = np.geomspace(self.low, self.high, points) if self.log else np.linspace(self.low, self.high, points)
        values = sorted({round(v) for v in spaced.tolist()}) if self.integer else spaced.tolist()
        # Rounding may carry the ends outside by one bit.
        values = [min(max(v, self.low), self.high) for v in values]
        return [self._floor, *values] if self.zero else values


def axes_of(config: Config) -> list[Axis]:
    """The axes of ``search.space`` that have an effect, or ``UsageError``."""
    axes = [_axis(key, spec) for key, spec in _specs(config.search.space).items()]
    inert = inert_axes(config)
    axes = [axis for axis in axes if axis.key not in inert]
    for axis in axes:
        _check(axis, config)
    _check_overlap(axes)
    return axes


def settings(axes: Sequence[Axis], values: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of the configuration that a trial's values set."""
    return {key: value for axis in axes for key, value in axis.settings(values[axis.key]).items()}


def inert_axes(config: Config) -> dict[str, str]:
    """Axes that could change nothing, with the reason: ``{key: scheme}``."""
    specs = _specs(config.search.space)
    keys = {*specs, *(key for spec in specs.values() for key in _armed_keys(spec))}
    inert = {}
    if "weight_init.name" not in keys and not WEIGHTS[config.weight_init.name].scaled:
        inert["weight_init.scale"] = f"weight_init={config.weight_init.name}"
    if "bias_init.name" not in keys and not BIASES[config.bias_init.name].valued:
        inert["bias_init.value"] = f"bias_init={config.bias_init.name}"
    return {key: scheme for key, scheme in inert.items() if key in specs}


def _armed_keys(spec: Any) -> set[str]:
    arms = spec.get("arms") if isinstance(spec, Mapping) else None
    return {str(key) for arm in arms.values() if isinstance(arm, Mapping) for key in arm} if arms else set()


def _specs(space: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of the space: nodes that have ``low``, ``high``, ``choices`` or ``arms``; null is no axis."""
    found: dict[str, Any] = {}
    for key, node in space.items():
        path = f"{prefix}{key}"
        if isinstance(node, Mapping) and node and not FIELDS & set(node):
            found |= _specs(node, f"{path}.")
        elif node is not None:
            found[path] = node
    return found


def _axis(key: str, spec: Any) -> Axis:
    name = f"search.space.{key}"
    if not isinstance(spec, Mapping) or not ({"low", "high"} <= set(spec) or {"choices", "arms"} & set(spec)):
        raise UsageError.of(name, spec, "must be {low, high[, log, zero, int]}, {choices: [...]} or {arms: {...}}")
    unknown = sorted(set(spec) - FIELDS)
    if unknown:
        raise UsageError.of(f"{name}.{unknown[0]}", spec[unknown[0]], f"unknown; allowed: {', '.join(sorted(FIELDS))}")
    if "arms" in spec:
        return _armed(name, key, spec)
    if "choices" in spec:
        return _categorical(name, key, spec)
    for end in ("low", "high"):
        if isinstance(spec[end], bool) or not isinstance(spec[end], int | float) or not abs(spec[end]) <= LARGEST:
            raise UsageError.of(f"{name}.{end}", spec[end], "must be a finite number")
    for flag in ("log", "zero", "int"):
        if not isinstance(spec.get(flag, False), bool):
            raise UsageError.of(f"{name}.{flag}", spec[flag], "must be true or false")
    flags = {"log": spec.get("log", False), "zero": spec.get("zero", False), "integer": spec.get("int", False)}
    axis = Axis(key, spec["low"], spec["high"], **flags)
    if axis.low > axis.high:
        raise UsageError.of(f"{name}.low", axis.low, f"must be at most high={axis.high}")
    if axis.log and axis.low <= 0:
        raise UsageError.of(f"{name}.low", axis.low, "must be above 0 on a log axis (zero: true adds exact 0)")
    if axis.integer and not (float(axis.low).is_integer() and float(axis.high).is_integer()):
        raise UsageError.of(f"{name}.low", axis.low, "low and high of an int axis must be whole numbers")
    if axis.zero and axis.log and axis._floor < sys.float_info.min:
        raise UsageError.of(f"{name}.low", axis.low, "is too small to set 0 apart from it")
    if axis.zero and (not axis.log or axis.integer or axis.low == axis.high):
        raise UsageError.of(f"{name}.zero", True, "needs log: true, a continuous axis and low < high")
    return axis


def _categorical(name: str, key: str, spec: Mapping[str, Any]) -> Axis:
    choices = spec["choices"]
    if not isinstance(choices, list) or not choices or any(isinstance(c, list | dict) for c in choices):
        raise UsageError.of(f"{name}.choices", choices, "must be a list of one or more plain values")
    if len(set(map(repr, choices))) != len(choices):
        raise UsageError.of(f"{name}.choices", choices, "must not repeat a value")
    if len(spec) > 1:
        raise UsageError.of(name, dict(spec), "has choices, so low, high, log, zero and int don't apply")
    return Axis(key, choices=tuple(choices))


def _armed(name: str, key: str, spec: Mapping[str, Any]) -> Axis:
    arms = spec["arms"]
    if not re.fullmatch(r"[A-Za-z0-9_-]+", key):
        raise UsageError.of("search.space", key, "an axis of arms is named by letters, digits, _ and -")
    if not isinstance(arms, Mapping) or not arms:
        raise UsageError.of(f"{name}.arms", arms, "must be {label: {key: value, ...}, ...}")
    for label, arm in arms.items():
        if not isinstance(arm, Mapping) or not arm:
            raise UsageError.of(f"{name}.arms.{label}", arm, "must be {key: value, ...}")
    if len(spec) > 1:
        raise UsageError.of(name, dict(spec), "has arms, so choices, low, high, log, zero and int don't apply")
    return Axis(key, choices=tuple(map(str, arms)), arms={str(label): dict(arm) for label, arm in arms.items()})


def _check(axis: Axis, config: Config) -> None:
    """The ends of an axis must be valid values of its key."""
    known = flatten(plain(config))
    if axis.arms and axis.key in {key.split(".")[0] for key in known}:
        raise UsageError.of("search.space", axis.key, "is a key already; an axis of arms needs a name of its own")
    seen: dict[str, str] = {}
    for end, chosen in _ends(axis, known):
        for key in chosen:
            if key.split(".")[0] in PART_OF_NO_RUN:
                raise UsageError.of(f"search.space.{axis.key}", key, "can't be searched: it isn't part of a single run")
            if key == "trainer.epochs" and config.search.pruner in ("halving", "median"):
                reason = f"can't be searched with search.pruner={config.search.pruner}, which compares epoch by epoch"
                raise UsageError.of(f"search.space.{axis.key}", key, reason)
        same = seen.setdefault(to_yaml(with_values(config, chosen)), str(end))
        if axis.arms and same != end:
            raise UsageError.of(
                f"search.space.{axis.key}.arms.{end}", dict(chosen), f"sets the same as the arm {same!r}"
            )

    if type(known.get(axis.key)) is int and not (axis.choices or axis.integer):
        raise UsageError.of(f"search.space.{axis.key}.int", False, "must be true: the key takes whole numbers")


def _ends(axis: Axis, known: Mapping[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Each end or choice of an axis, with the keys that it sets."""
    for end in axis.choices or (axis.low, axis.high):
        value = float(end) if isinstance(known.get(axis.key), float) and not axis.choices else end
        yield end, axis.settings(value)


def ends_of(config: Config) -> list[Config]:
    """The configuration at each end, or under each choice, of each axis."""
    known = flatten(plain(config))
    return [with_values(config, chosen) for axis in axes_of(config) for _, chosen in _ends(axis, known)]


def _check_overlap(axes: Sequence[Axis]) -> None:
    """No key may be set by two axes."""
    owner: dict[str, str] = {}
    for axis in axes:
        keys = {key for value in axis.choices for key in axis.settings(value)} if axis.arms else {axis.key}
        for key in sorted(keys):
            if owner.setdefault(key, axis.key) != axis.key:
                raise UsageError.of(f"search.space.{axis.key}", key, f"is set by the axis {owner[key]} already")
