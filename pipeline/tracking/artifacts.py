"""Files of runs: straight in their folder where that is on this machine, else through MLflow."""

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from mlflow.entities import Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from mlflow.utils.file_utils import local_file_uri_to_path

from pipeline.folders import settle

__all__ = ["folder_of", "keep", "send", "settle_below"]


def folder_of(uri: str) -> Path | None:
    """The folder that holds a run's artifacts, if it is one of this machine."""
    if urlsplit(uri).scheme not in ("", "file"):
        return None  # a server's own, for one, can't even be looked at without the server's address
    return Path(local_file_uri_to_path(uri))  # type: ignore[no-untyped-call]


def keep(uri: str, artifacts: Mapping[str, bytes]) -> None:
    """Stores a run's artifacts: ``{file name: content}``."""
    _keep(uri, artifacts, lambda folder: get_artifact_repository(uri).log_artifacts(folder))  # type: ignore[no-untyped-call]


def send(client: MlflowClient, run: Run, artifacts: Mapping[str, bytes]) -> None:
    """The same where the store may be a server, which may take them itself."""
    run_id = run.info.run_id
    _keep(run.info.artifact_uri, artifacts, lambda folder: client.log_artifacts(run_id, folder))


def _keep(uri: str, artifacts: Mapping[str, bytes], upload: Callable[[str], object]) -> None:
    own = folder_of(uri)
    if own is not None:
        _fill(own, artifacts)
        # On the disk before anything says that they are there.
        settle(*(own / name for name in artifacts), own, *list(own.parents)[:2])
        return
    with tempfile.TemporaryDirectory() as folder:
        _fill(Path(folder), artifacts)
        upload(folder)


def settle_below(uri: str) -> None:
    """Has what MLflow has written on the disk, where that is a folder of this machine."""
    own = folder_of(uri)
    if own is not None and own.is_dir():
        settle(*own.rglob("*"), own, *list(own.parents)[:2])


def _fill(folder: Path, artifacts: Mapping[str, bytes]) -> None:
    """Writes files into a folder, which it makes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in artifacts.items():
        (folder / name).write_bytes(content)
