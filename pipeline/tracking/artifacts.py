"""Files of runs: straight in their folder where that is on this machine, else through MLflow."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path

__all__ = ["fill", "folder_of", "keep"]


def folder_of(uri: str) -> Path | None:
    """The folder that holds a run's artifacts, if it is one of this machine."""
    if urlsplit(uri).scheme not in ("", "file"):
        return None  # a server's own, for one, can't even be looked at without the server's address
    return Path(local_file_uri_to_path(uri))  # type: ignore[no-untyped-call]


def keep(uri: str, artifacts: Mapping[str, bytes]) -> None:
    """Stores a run's artifacts: ``{file name: content}``."""
    own = folder_of(uri)
    if own is not None:
        fill(own, artifacts)
        return
    with tempfile.TemporaryDirectory() as folder:
        fill(Path(folder), artifacts)
        get_artifact_repository(uri).log_artifacts(folder)  # type: ignore[no-untyped-call]


def fill(folder: Path, artifacts: Mapping[str, bytes]) -> None:
    """Writes files into a folder, which it makes."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in artifacts.items():
        (folder / name).write_bytes(content)
