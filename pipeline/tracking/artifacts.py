"""Files of runs: straight in their folder where that is on this machine, else through MLflow."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.local_artifact_repo import LocalArtifactRepository

__all__ = ["fill", "folder_of", "keep"]


def folder_of(uri: str) -> Path | None:
    """The folder that holds a run's artifacts, if it is one of this machine."""
    repository = get_artifact_repository(uri)
    return Path(repository.artifact_dir) if isinstance(repository, LocalArtifactRepository) else None


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
