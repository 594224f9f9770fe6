"""Whether a study goes on as it was begun: with the same configuration, on the same data."""

import json
from typing import Any

from optuna.storages import BaseStorage

from pipeline.config import Config, config_hash, identity
from pipeline.errors import UsageError
from pipeline.search.storage import study_name

__all__ = ["check_identity"]

# Keys that say nothing where another key has this value: studies that were begun before there were such keys go on.
IDLE = {
    "search.min_verdict": ("search.preflight", "log"),
    "search.min_epochs": ("search.pruner", "none"),
    "search.reduction": ("search.pruner", "none"),
}


def check_identity(storage: BaseStorage, study: int, config: Config, digest: str) -> None:
    """Notes what a new study is about; of an older one raises ``UsageError`` where that is something else.

    Args:
        study: Optuna's id of it.
        digest: of the data.
    """
    stored = storage.get_study_user_attrs(study)
    if "data_digest" not in stored:
        mine = {"config": json.dumps(identity(config)), "config_hash": config_hash(config)}
        for key, value in (mine | {"data_digest": digest}).items():
            storage.set_study_user_attr(study, key, value)
        return
    name = study_name(config)
    _check_config(name, identity(config), json.loads(stored["config"]))
    if stored["data_digest"] != digest:
        key = "dataset.path" if config.dataset.path else "dataset"
        given = config.dataset.path or config.dataset.name
        allowed = f"the data have changed since the study {name!r} was begun; choose another study.name"
        raise UsageError.of(key, given, allowed)


def _check_config(study: str, mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    for key in sorted({*mine, *theirs}):
        switch, off = IDLE.get(key, ("", None))
        idle = bool(switch) and mine.get(switch) == theirs.get(switch) == off
        if mine.get(key) != theirs.get(key) and not idle:
            allowed = f"the study {study!r} was begun with {theirs.get(key)}; choose another study.name"
            raise UsageError.of(key, mine.get(key), allowed)
