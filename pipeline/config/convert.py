"""Between nested mappings, dotted keys and the typed configuration."""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from pipeline.config.safety import check_code, check_texts
from pipeline.config.schema import Config
from pipeline.config.section import Section
from pipeline.errors import UsageError
from pipeline.masking import masked

__all__ = [
    "Kind",
    "config_hash",
    "flatten",
    "identity",
    "masked",
    "masked_override",
    "parse",
    "plain",
    "suggestion",
    "with_values",
]

# What may change without a study becoming another one.
NOT_IDENTITY = (
    "allow_custom_code",
    "study.",
    "tracking.",
    "launcher.",
    "report.",
    "search.n_trials",
    "search.storage",
    "search.confirm",
    "trainer.stack_size",
    "trainer.workers",
    "trainer.max_memory_gb",
)
UNION_TAGS = {"mlp", "cnn", "custom", "sgd", "adam", "adamw", "local", "slurm"}


Kind = TypeVar("Kind", bound=Section)


def parse(tree: Mapping[str, Any], kind: type[Kind]) -> Kind:
    """The typed configuration, or a ``UsageError`` for the first key that is wrong."""
    check_texts(tree)
    try:
        config = kind.model_validate(dict(tree))
    except ValidationError as error:
        raise _usage(error, tree) from None
    check_code(tree)
    return config


def _usage(error: ValidationError, tree: Mapping[str, Any]) -> UsageError:
    first = error.errors()[0]
    parts = [str(part) for i, part in enumerate(first["loc"]) if not (i == 1 and part in UNION_TAGS)]
    key = ".".join(parts)
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "must be")
    if first["type"] == "extra_forbidden":
        message = f"unknown key{suggestion(key, flatten(tree))}"
    elif first["type"] == "missing":
        return UsageError(f"{key} is missing: it must be given")
    elif first["type"] == "union_tag_invalid":
        return UsageError.of(
            f"{key}.name", first["input"].get("name"), f"must be one of {first['ctx']['expected_tags']}"
        )
    return UsageError.of(key, first["input"], message[0].lower() + message[1:])


def suggestion(key: str, known: Iterable[str]) -> str:
    """``; did you mean ...`` for the nearest known keys, or what stands beside it."""
    known = sorted(set(known) - {key})
    near = difflib.get_close_matches(key, known, n=2, cutoff=0.7)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    parent = key.rpartition(".")[0]
    start = f"{parent}." if parent else ""
    beside = sorted({start + k.removeprefix(start).split(".")[0] for k in known if k.startswith(start)})
    return f"; allowed here: {', '.join(beside)}" if beside else ""


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings to ``{dotted key: leaf}``."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def plain(config: Section) -> dict[str, Any]:
    """The configuration as nested dicts of plain values, as ``parse`` takes them."""
    return config.model_dump(by_alias=True)


def masked_override(text: str) -> str:
    """An override that may be shown: of an address in it neither password nor query."""
    key, equals, value = text.partition("=")
    quote = value[0] if value[:1] in ("'", '"') and value[-1:] == value[:1] else ""
    return f"{key}{equals}{quote}{masked(value.strip(quote) if quote else value)}{quote}"


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """A copy with other values at dotted keys, checked like any configuration."""
    tree = plain(config)
    for key, value in values.items():
        *parents, leaf = key.split(".")
        node: Any = tree
        for parent in parents:
            node = node.get(parent) if isinstance(node, dict) else None
        if not isinstance(node, dict) or leaf not in node:
            raise UsageError.of(key, value, f"unknown key{suggestion(key, flatten(tree))}")
        node[leaf] = value
    return parse(tree, Config)


def config_hash(config: Config) -> str:
    """12 hex digits of a configuration's identity."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()[:12]


def identity(config: Config) -> dict[str, Any]:
    """``{dotted key: value}`` of all that decides a study's numbers; not its name, length or stores."""
    flat = flatten(plain(config))
    return {k: v for k, v in flat.items() if v is not None and not k.startswith(NOT_IDENTITY)}
