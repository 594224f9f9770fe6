"""The MLflow store: where it is, and how it comes to be, once."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import mlflow
from filelock import FileLock, Timeout
from mlflow import MlflowClient

from pipeline.config import Config, masked
from pipeline.errors import InitlabError, RunError, UsageError
from pipeline.folders import unwritable
from pipeline.tracking.database import engine_of, is_database
from pipeline.tracking.faults import StoreAwayError, is_transient, reason_of
from pipeline.tracking.place import directory_of, store_uri

__all__ = ["Store", "mlflow_at", "open_store", "ui_command"]

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


def open_store(config: Config) -> Store:
    """Opens the store and its experiment; makes them where they are missing.

    Several processes may do so at once: a fresh sqlite store can only be created by one,
    so that happens under a lock.
    """
    uri = store_uri(config)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # tracebacks of errors that it raises too
    directory = directory_of(config)
    try:
        if uri.startswith("http"):  # the server has its own place for artifacts
            return _open(uri, config.tracking.experiment, None)
        directory.mkdir(parents=True, exist_ok=True)
        with FileLock(directory / ".store.lock", timeout=LOCK_TIMEOUT_S):
            return _open(uri, config.tracking.experiment, (directory / "artifacts").as_uri())
    except Timeout:
        raise RunError(f"{directory / '.store.lock'} is held by another process; the store can't be opened") from None
    except OSError as error:
        raise unwritable("tracking.dir", config.tracking.dir, error) from None
    except InitlabError:
        raise
    except Exception as error:  # MLflow's, SQLAlchemy's, a driver's
        if is_transient(error):
            raise StoreAwayError(f"the MLflow store {masked(uri)} can't be opened ({reason_of(error)})") from None
        reason = " ".join(str(error).split())[:150].replace(uri, masked(uri))
        raise RunError(f"the MLflow store {masked(uri)} can't be opened ({reason})") from None


def _open(uri: str, experiment: str, artifacts: str | None) -> Store:
    if is_database(uri) and not uri.startswith("sqlite"):
        _try_connection(uri)
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    found = client.get_experiment_by_name(experiment)
    if found is not None and found.lifecycle_stage != "active":
        raise UsageError.of("tracking.experiment", experiment, "was deleted in MLflow; restore it or choose another")
    if found is not None:
        return Store(client, uri, found.experiment_id)
    # Else the UI shows what it has for language models first.
    tags = {"mlflow.experimentKind": "custom_model_development"}
    return Store(client, uri, client.create_experiment(experiment, artifacts, tags))


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


def ui_command(config: Config) -> list[str]:
    """The command that serves the MLflow UI on loopback; opens the store first."""
    open_store(config)
    uri, port = store_uri(config), str(config.tracking.port)
    artifacts = (directory_of(config) / "artifacts").as_uri()
    serve = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", port, "--workers", "1"]
    return [*serve, "--backend-store-uri", uri, "--default-artifact-root", artifacts]
