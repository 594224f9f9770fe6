"""Where an Optuna study is kept, under which name, and the locks of those who work on it."""

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages._cached_storage import _CachedStorage  # what optuna.get_storage makes, with options
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from pipeline.config import Config, config_hash
from pipeline.databases import options
from pipeline.errors import RunError, UsageError
from pipeline.folders import unwritable
from pipeline.latch import FileLatch
from pipeline.names import slug
from pipeline.search.journal import Journal
from pipeline.search.locks import Latch, Lock, SessionLatch

__all__ = ["DAMAGED", "damaged", "journal_dir", "lock_of", "open_storage", "study_name", "workers_dir"]

DAMAGED = (json.JSONDecodeError, KeyError, UnicodeDecodeError, TypeError)
"""What Optuna raises while it replays a journal that isn't one."""

# Databases whose sessions can hold locks.
SERVERS = ("postgresql", "mysql", "mariadb")
# Several that make the tables of a fresh sqlite file at once get in each other's way.
ATTEMPTS, PAUSE_S = 5, 0.5


def study_name(config: Config) -> str:
    """``study.name``, or the dataset and the configuration's hash: same configuration, same study.

    A study of a question has that before it: ``q2-digits-...``.
    """
    question = f"{config.study.question}-" if config.study.question else ""
    return config.study.name or f"{question}{config.dataset.name}-{config_hash(config)}"


def lock_of(
    config: Config, storage: BaseStorage, name: str, purpose: str, check: Callable[[], None] = lambda: None
) -> Lock:
    """A lock that all who work on a study share, wherever they are.

    Args:
        check: called while it is waited for.
    """
    return Lock(_latch(config, storage, name, purpose), check)


def _latch(config: Config, storage: BaseStorage, name: str, purpose: str) -> Latch:
    if isinstance(storage, _CachedStorage):
        engine = storage._backend.engine
        if engine.dialect.name in SERVERS:
            return SessionLatch(engine, f"initlab {name} {purpose}")
    place = _file_of(config, storage, name)
    return FileLatch(place.with_name(f"{place.name}.{purpose}.lock"))


def _file_of(config: Config, storage: BaseStorage, name: str) -> Path:
    """The file beside which a lock's file is made."""
    own = journal_dir(config) / f"{slug(name)}.journal"
    if isinstance(storage, _CachedStorage):
        database = storage._backend.engine.url.database
        return Path(f"{database}.{slug(name)}") if database and Path(database).is_file() else own
    return Path(config.search.storage) if config.search.storage is not None else own


def open_storage(config: Config, name: str) -> tuple[BaseStorage, str]:
    given = config.search.storage
    if given is not None and "://" in given:
        return _open_database(given), given.split("://")[0]
    path = Path(given) if given is not None else journal_dir(config) / f"{slug(name)}.journal"
    if path.is_dir():
        raise UsageError.of("search.storage", path, "is a folder; it must be a journal file or a database URL")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(Journal(path)), str(path)
    except OSError as error:
        if given is None:
            raise unwritable("tracking.dir", config.tracking.dir, error) from None
        raise UsageError.of("search.storage", path, f"can't be opened ({error.strerror})") from None
    except DAMAGED:
        raise damaged(path) from None


def _open_database(uri: str) -> BaseStorage:
    scheme = uri.split("://")[0]
    engine = {"connect_args": options(uri), "pool_pre_ping": not scheme.startswith("sqlite")}
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with _sole_maker(uri):
                return _CachedStorage(RDBStorage(uri, engine_kwargs=engine))
        except SQLAlchemyError as error:
            if attempt == ATTEMPTS or ("exist" not in str(error) and "unique" not in str(error).lower()):
                raise _unopened(scheme, error) from None
            time.sleep(PAUSE_S)
        except Exception as error:  # Optuna's, the driver's, or an import that fails
            raise _unopened(scheme, error) from None
    raise AssertionError


def _sole_maker(uri: str) -> AbstractContextManager[object]:
    """Lets one process at a time make the tables of a server's database."""
    engine = create_engine(uri, poolclass=NullPool)
    if engine.dialect.name not in SERVERS:
        return nullcontext()
    return Lock(SessionLatch(engine, "initlab tables"))


def _unopened(scheme: str, error: Exception) -> UsageError:
    return UsageError(f"search.storage={scheme}://...: can't be opened ({type(error).__name__})")


def damaged(store: object) -> RunError:
    return RunError(f"search.storage={store}: the journal is damaged and can't be read")


def workers_dir(config: Config) -> Path:
    """Where this host's workers hold a file each."""
    return journal_dir(config) / "workers"


def journal_dir(config: Config) -> Path:
    return Path(config.tracking.dir) / "optuna"
