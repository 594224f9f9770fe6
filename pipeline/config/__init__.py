"""Configuration: the one place that knows Hydra and OmegaConf."""

from pipeline.config.compose import CONF_DIR, build_model, choices, compose, compose_as, compose_tree, groups, to_yaml
from pipeline.config.convert import config_hash, flatten, identity, masked, parse, plain, with_values
from pipeline.config.schema import MLP_TARGET, Config, CustomModel, MLPModel, Section, SGDConfig, TheoryConfig

__all__ = [
    "CONF_DIR",
    "MLP_TARGET",
    "Config",
    "CustomModel",
    "MLPModel",
    "SGDConfig",
    "Section",
    "TheoryConfig",
    "build_model",
    "choices",
    "compose",
    "compose_as",
    "compose_tree",
    "config_hash",
    "flatten",
    "groups",
    "identity",
    "masked",
    "parse",
    "plain",
    "to_yaml",
    "with_values",
]
