"""Configuration: the one place that knows Hydra and OmegaConf."""

from pipeline.config.addresses import checked_tracking_uri, file_of
from pipeline.config.compose import CONF_DIR, build_model, choices, compose, compose_as, compose_tree, groups, to_yaml
from pipeline.config.convert import config_hash, flatten, identity, masked, masked_override, parse, plain, with_values
from pipeline.config.handover import handed_on
from pipeline.config.networks import CNNModel, CustomModel, MLPModel
from pipeline.config.schema import Config, SGDConfig, SlurmLauncher, TheoryConfig
from pipeline.config.section import Section

__all__ = [
    "CONF_DIR",
    "CNNModel",
    "Config",
    "CustomModel",
    "MLPModel",
    "SGDConfig",
    "Section",
    "SlurmLauncher",
    "TheoryConfig",
    "build_model",
    "checked_tracking_uri",
    "choices",
    "compose",
    "compose_as",
    "compose_tree",
    "config_hash",
    "file_of",
    "flatten",
    "groups",
    "handed_on",
    "identity",
    "masked",
    "masked_override",
    "parse",
    "plain",
    "to_yaml",
    "with_values",
]
