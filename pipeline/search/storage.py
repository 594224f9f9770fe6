"""Where an Optuna study is kept, under which name, and who may run it."""

import json
from pathlib import Path

from filelock import FileLock, Timeout
from optuna.storages import BaseStorage, JournalStorage, RDBStorage

from pipeline.config import Config, config_hash
from pipeline.errors import RunError, UsageError
from pipeline.folders import unwritable
from pipeline.names import slug
from pipeline.search.journal import Journal

__all__ = ["DAMAGED", "damaged", "held_lock", "journal_dir", "open_storage", "study_name"]

DAMAGED = (json.JSONDecodeError, KeyError, UnicodeDecodeError, TypeError)
"""What Optuna raises while it replays a journal that isn't one."""


def study_name(config: Config) -> str:
    """``study.name``, or the dataset and the configuration's hash: same configuration, same study.

    A study of a question has that before it: ``q2-digits-...``.
    """
    question = f"{config.study.question}-" if config.study.question else ""
    return config.study.name or f"{question}{config.dataset.name}-{config_hash(config)}"


def held_lock(config: Config, name: str) -> FileLock:
    """One process at a time: two would take each other's running trials for lost ones."""
    folder = journal_dir(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{slug(name)}.lock")
        lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"the study {name!r} is being run by another process; wait for it, or stop it") from None
    except OSError as error:
        raise unwritable("tracking.dir", config.tracking.dir, error) from None
    return lock


def open_storage(config: Config, name: str) -> tuple[BaseStorage, str]:
    given = config.search.storage
    if given is not None and "://" in given:
        try:
            return RDBStorage(given), given.split("://")[0]
        except Exception as error:  # SQLAlchemy's, the driver's, or an import that fails
            reason = type(error).__name__
            scheme = given.split("://")[0]
            raise UsageError(f"search.storage={scheme}://...: can't be opened ({reason})") from None
    path = Path(given) if given is not None else journal_dir(config) / f"{slug(name)}.journal"
    if path.is_dir():
        raise UsageError.of("search.storage", path, "is a folder; it must be a journal file or a database URL")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(Journal(path)), str(path)
    except OSError as error:
        raise UsageError.of("search.storage", path, f"can't be opened ({error.strerror})") from None
    except DAMAGED:
        raise damaged(path) from None


def damaged(store: object) -> RunError:
    return RunError(f"search.storage={store}: the journal is damaged and can't be read")


def journal_dir(config: Config) -> Path:
    return Path(config.tracking.dir) / "optuna"
