"""A finished run as one file: a zip archive of ``run.json`` and the run's artifacts.

Nothing in it runs code when it is read, and what is read is checked: the file may be cut off
or not the lab's at all.
"""

import io
import json
import math
import zipfile
from typing import Annotated

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from pydantic import BaseModel, ConfigDict, Field

from pipeline.tracking.finished import FinishedRun

__all__ = ["DamagedError", "pack", "unpack"]

META, ARTIFACTS = "run.json", "artifacts/"
# Of one run; a claim of more in the archive's directory is not believed.
LARGEST = 1 << 30

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$", max_length=100)]
Text = dict[str, str]


class DamagedError(ValueError):
    """A file that doesn't hold a run."""


class _Meta(BaseModel):
    """``run.json``: what of a run isn't an artifact."""

    model_config = ConfigDict(extra="forbid", strict=True)

    run_id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
    name: str
    status: Annotated[str, Field(pattern="^(FINISHED|KILLED)$")]
    started: float
    ended: float
    tags: Text
    params: Text
    metrics: list[tuple[str, float, int, int]]
    dataset: Text
    dataset_tags: Text
    artifacts: list[FileName]


def pack(run: FinishedRun) -> bytes:
    """The run as the content of a file."""
    dataset = run.inputs.dataset.to_dictionary()
    meta = _Meta(
        run_id=run.run_id,
        name=run.name,
        status=run.status,
        started=run.started,
        ended=run.ended,
        tags=dict(run.tags),
        params={param.key: param.value for param in run.params},
        metrics=[(m.key, m.value, m.timestamp, m.step) for m in run.metrics],
        dataset={key: value for key, value in dataset.items() if value is not None},
        dataset_tags={tag.key: tag.value for tag in run.inputs.tags},
        artifacts=list(run.artifacts),
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # stored: parquet is compressed already
        archive.writestr(META, json.dumps(meta.model_dump(), allow_nan=False))
        for name, content in run.artifacts.items():
            archive.writestr(ARTIFACTS + name, content)
    return buffer.getvalue()


def unpack(content: bytes) -> FinishedRun:
    """The run in a file; ``DamagedError`` if there is none."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            meta = _Meta.model_validate(_tuples(json.loads(_member(archive, META))))
            artifacts = {name: _member(archive, ARTIFACTS + name) for name in meta.artifacts}
        return _run(meta, artifacts)
    except Exception as error:  # whatever bytes can make of zipfile, zlib, json and pydantic
        raise DamagedError(type(error).__name__) from None


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    """A member's content, whose checksum is compared as it is read."""
    if archive.getinfo(name).file_size > LARGEST:
        raise ValueError(name)
    return archive.read(name)


def _tuples(meta: dict[str, object]) -> dict[str, object]:
    """JSON has no tuples."""
    metrics = meta["metrics"]
    if not isinstance(metrics, list):
        raise TypeError("metrics")
    return meta | {"metrics": [tuple(row) for row in metrics]}


def _run(meta: _Meta, artifacts: dict[str, bytes]) -> FinishedRun:
    if not all(math.isfinite(value) for value in (meta.started, meta.ended, *(m[1] for m in meta.metrics))):
        raise ValueError("not finite")
    inputs = DatasetInput(Dataset(**meta.dataset), [InputTag(k, v) for k, v in meta.dataset_tags.items()])
    return FinishedRun(
        name=meta.name,
        status=meta.status,
        started=meta.started,
        ended=meta.ended,
        tags=meta.tags,
        params=[Param(key, value) for key, value in meta.params.items()],
        metrics=[Metric(*row) for row in meta.metrics],
        inputs=inputs,
        artifacts=artifacts,
        run_id=meta.run_id,
    )
