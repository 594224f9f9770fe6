"""The MLflow store: where it is, and how it comes to be, once."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mlflow
from filelock import FileLock, Timeout
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from pipeline.config import Config, masked
from pipeline.errors import InitlabError, RunError, StoreAwayError, UsageError
from pipeline.folders import unwritable
from pipeline.masking import one_line
from pipeline.tracking.database import engine_of, is_database
from pipeline.tracking.faults import is_transient, reason_of
from pipeline.tracking.place import check_there, directory_of, store_uri

__all__ = ["Store", "mlflow_at", "open_store"]

LOCK_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        experiment: MLflow's id of the experiment that all runs of the lab are in.
    """

    client: MlflowClient
    uri: str
    experiment: str


def open_store(config: Config, make: bool = True) -> Store:
    """Opens the store and its experiment; makes them where they are missing.

    Several processes may do so at once: a fresh sqlite store can only be created by one,
    so that happens under a lock.

    Args:
        make: whether to; else a missing one is a ``UsageError``.
    """
    uri = store_uri(config)
    if not make:
        check_there(config)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of errors that it raises too
    directory = directory_of(config)
    try:
        if uri.startswith("http"):  # the server has its own place for artifacts
            return _open(uri, config.tracking.experiment, None, make)
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / ".store.lock", timeout=LOCK_TIMEOUT_S):
            return _open(uri, config.tracking.experiment, (directory / "artifacts").as_uri(), make)
    except Timeout:
        raise RunError(f"{directory / '.store.lock'} is held by another process; the store can't be opened") from None
    except OSError as error:
        raise unwritable("tracking.dir", config.tracking.dir, error) from None
    except InitlabError:
        raise
    except Exception as error:  # MLflow's, SQLAlchemy's, a driver's
        if is_transient(error):
            raise StoreAwayError(f"the MLflow store {masked(uri)} can't be opened ({reason_of(error)})") from None
        reason = one_line(str(error))[:150]
        raise RunError(f"the MLflow store {masked(uri)} can't be opened ({reason})") from None


def _open(uri: str, experiment: str, artifacts: str | None, make: bool) -> Store:
    if is_database(uri) and not uri.startswith("sqlite"):
        _try_connection(uri)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    found = client.get_experiment_by_name(experiment)
    if found is not None and found.lifecycle_stage != "active":
        raise UsageError.of("tracking.experiment", experiment, "was deleted in MLflow; restore it or choose another")
    if found is not None:
        return Store(client, uri, found.experiment_id)
    if not make:
        raise UsageError.of("tracking.experiment", experiment, "no such experiment in the MLflow store")
    # Else the UI shows what it has for language models first.
    tags = {"mlflow.experimentKind": "custom_model_development"}
    try:
        return Store(client, uri, client.create_experiment(experiment, artifacts, tags))
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        return _open(uri, experiment, artifacts, make)  # another process was quicker


def _try_connection(uri: str) -> None:
    """Fails at once where MLflow would try for minutes to reach a server of databases."""
    engine_of(uri).connect().close()


@contextmanager
def mlflow_at(uri: str) -> Iterator[None]:
    """Lets MLflow's global functions speak to the store at ``uri``, and after that to what they spoke to before.

    MLflow keeps the URIs in the process *and* in its environment, where :func:`store_uri` reads.
    """
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ.get(name) for name in names}
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(before["MLFLOW_TRACKING_URI"])  # type: ignore[arg-type]  # none: forgets it
        mlflow.set_registry_uri(before["MLFLOW_REGISTRY_URI"])  # type: ignore[arg-type]
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
