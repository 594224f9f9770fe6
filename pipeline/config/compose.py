"""Hydra and OmegaConf: from overrides on a command line to the typed configuration."""

import inspect
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import MissingConfigException
from hydra.utils import get_object, instantiate
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.convert import Kind, flatten, parse, plain, suggestion
from pipeline.config.handover import SECRET
from pipeline.config.networks import ModelConfig
from pipeline.config.schema import Config
from pipeline.config.section import Section
from pipeline.errors import UsageError, shortened
from pipeline.masking import masked, one_line

__all__ = ["CONF_DIR", "build_model", "choices", "compose", "compose_as", "compose_tree", "groups", "to_yaml"]

_PACKAGE = Path(__file__).resolve().parents[1]
# Beside the package in a checkout, inside it in an installed wheel.
CONF_DIR = next(d for d in (_PACKAGE / "conf", _PACKAGE.parent / "conf") if d.is_dir())

LONGEST = 100_000  # characters of an override

# What it has to say it raises as well.
logging.getLogger("hydra.utils").setLevel(logging.CRITICAL)

# Other names under which people know a scheme.
ALIASES = {
    "weight_init": {
        "lecun": "lecun_normal",
        "xavier_normal": "glorot_normal",
        "xavier_uniform": "glorot_uniform",
        "kaiming_normal": "he_normal",
        "kaiming_uniform": "he_uniform",
        "default": "pytorch",
    },
    "bias_init": {"default": "pytorch"},
}
ALIASES["scheme"] = ALIASES["weight_init"]  # as `initlab theory` calls it


def compose(overrides: Sequence[str]) -> Config:
    """The configuration under ``overrides`` (``key=value``), or a ``UsageError``."""
    return compose_as(Config, overrides)


def compose_as(kind: type[Kind], overrides: Sequence[str]) -> Kind:
    """A configuration of another kind, from the file that the kind names."""
    return parse(compose_tree(overrides, kind.source), kind)


def compose_tree(overrides: Sequence[str], source: str = "config") -> dict[str, Any]:
    """The same as nested dicts, before types and ranges are checked."""
    texts = [_resolved_alias(override) for override in _parsed(overrides)]
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONF_DIR), version_base="1.3"):
            config = hydra.compose(source, overrides=texts)
        tree: dict[str, Any] = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except MissingConfigException as error:
        raise _unknown_choice(error) from None
    except OmegaConfBaseException as error:
        key = error.full_key or "a key"
        reason = "can't be read" if key in SECRET else _one_line(str(error).partition("\n")[0])
        raise UsageError(f"{key}: {reason}") from None
    except Exception as error:  # Hydra raises ValueError and others besides its own, all for overrides
        raise _unknown_key(error, texts, source) from None
    tree.pop("experiment", None)
    return tree


def _parsed(overrides: Sequence[str]) -> list[Override]:
    found = (_override(text) for text in overrides)
    return [override for override in found if override.input_line != "experiment=null"]  # which is the default


def _override(text: str) -> Override:
    """An override that Hydra can read and that names a key, or a group and one of its choices."""
    key, _, given = text.partition("=")
    if not key or len(text) > LONGEST:
        raise UsageError(f"{shortened(masked(text))}: not of the form key=value, of at most {LONGEST} characters")
    try:
        override = OverridesParser.create().parse_override(text)
        value = None if override.is_sweep_override() else override.value()
    except Exception as error:  # Hydra's, and of what is nested or long without end Python's own
        # Its reasons quote pieces of the text, of a password too.
        reason = "quote it: 'key=\"value\"'" if "://" in text else _one_line(error)
        raise UsageError(f"{shortened(masked(text))}: not of the form key=value ({reason})") from None
    name = override.key_or_group
    if name.split(".")[0].split("/")[0] == "hydra":
        raise UsageError.of(name, "...", "the lab has no settings of Hydra itself")
    if override.package is not None or "/" in name:
        raise UsageError.of(key.lstrip("+~"), given, f"unknown key; the groups are {', '.join(groups())}")
    if override.is_sweep_override():
        allowed = "one value only; to search over several, give search.space.KEY={choices: [...]}"
        raise UsageError.of(name, given, allowed)
    if name in groups() and text != "experiment=null":
        known = choices(name)
        if not isinstance(value, str) or value not in {*known, *ALIASES.get(name, {})}:
            raise UsageError.of(name, given, f"must be one of {', '.join(known)}")
    return override


def _resolved_alias(override: Override) -> str:
    text: str = override.input_line or ""
    names = ALIASES.get(override.key_or_group, {})
    value = override.value()
    if isinstance(value, str) and value in names:
        return text.replace(f"={value}", f"={names[value]}")
    return text


def choices(group: str) -> list[str]:
    """The names that a configuration group can take."""
    return sorted(path.stem for path in (CONF_DIR / group).glob("*.yaml") if path.stem != "base")


def groups() -> list[str]:
    """The configuration groups."""
    return sorted(path.name for path in CONF_DIR.iterdir() if path.is_dir())


def _unknown_choice(error: MissingConfigException) -> UsageError:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    if not group:
        return UsageError(_one_line(error))
    return UsageError.of(group, name.removesuffix(".yaml"), f"must be one of {', '.join(choices(group))}")


def _unknown_key(error: Exception, texts: Sequence[str], source: str) -> UsageError:
    named = re.search(
        r"(?:Could not (?:override|append|delete)[^']*|No match in the defaults list[^']*)'([^']+)'", str(error)
    )
    if named is None:
        return _misplaced(error, texts)
    key = named[1].split("@")[0].split("=")[0].lstrip("+~")
    own = [t for t in texts if t.lstrip("+~").split("=")[0] == key]
    given = own[0].partition("=")[2] if own else ""
    known = flatten(compose_tree([t for t in texts if t not in own], source)) if own else {}
    if key in known or any(k.startswith(f"{key}.") for k in known):
        return UsageError.of(key, given, _one_line(error))
    return UsageError.of(key, given, f"unknown key{suggestion(key, known)}")


def _misplaced(error: Exception, texts: Sequence[str]) -> UsageError:
    """An override that doesn't fit what stands in its place."""
    named = re.search(r"Error merging override ([^=]+)=|Multiple values for (\S+)\. ", str(error))
    if named is None:
        return UsageError(_one_line(error))
    key = (named[1] or named[2]).lstrip("+~")
    given = next((t.partition("=")[2] for t in texts if t.lstrip("+~").split("=")[0] == key), "")
    return UsageError.of(
        key, given, "must be of the kind that stands there" if named[1] else "is there already: no + before it"
    )


def _one_line(error: BaseException | str) -> str:
    return one_line(str(error) or type(error).__name__)[:200]


def to_yaml(config: Section) -> str:
    """The resolved configuration as YAML, without passwords."""
    tree = plain(config)
    for section, key in (name.split(".") for name in SECRET):
        if tree.get(section, {}).get(key):
            tree[section][key] = masked(tree[section][key])
    # The same text as that of safe_dump, in a tenth of the time where libyaml is there.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return str(yaml.dump(tree, Dumper=dumper, sort_keys=False))


def build_model(
    model: ModelConfig, input_shape: Sequence[int], n_classes: int, image_shape: Sequence[int] | None = None
) -> Any:
    """Instantiates the network of a configuration.

    The constructor gets ``input_shape``, ``n_classes`` and ``image_shape`` where it has
    parameters of those names, besides the keys that stand beside ``_target_``.

    Args:
        image_shape: ``(channels, height, width)`` of a sample that is an image, flat or not.

    Raises:
        UsageError: the target can't be imported or refuses its arguments.
    """
    node = model.model_dump(by_alias=True)
    shape = {
        "input_shape": list(input_shape),
        "n_classes": n_classes,
        "image_shape": list(image_shape) if image_shape is not None else None,
    }
    try:
        known = _parameters(get_object(node["_target_"]))
        built = instantiate(node, **{k: v for k, v in shape.items() if k in known and k not in node})
    except Exception as error:  # a user's constructor may raise anything
        if isinstance(error.__cause__, UsageError):
            raise error.__cause__ from None
        reason = _one_line(error.__cause__ or error)
        raise UsageError.of("model._target_", node["_target_"], f"can't be built ({reason})") from None
    return built


def _parameters(target: Any) -> set[str]:
    try:
        return set(inspect.signature(target).parameters)
    except ValueError:  # a builtin without a signature
        return set()
