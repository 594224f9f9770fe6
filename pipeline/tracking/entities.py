"""From the lab's records to MLflow's metrics, params, tags and artifacts."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat

import mlflow.data
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag

from pipeline.config import Config, CustomModel, config_hash, flatten, to_yaml
from pipeline.data import Dataset
from pipeline.probes import PROBES, log_spaced
from pipeline.records import Curve, MemberRecord, TrialRecord

__all__ = [
    "EXEMPLARS",
    "LAYERS",
    "NETWORK",
    "REPLICATES",
    "artifacts_of",
    "chance",
    "dataset_input",
    "identity_tags",
    "metrics_of",
    "params_of",
    "replicates_of",
]

LAYERS, REPLICATES = "layers.parquet", "replicates.parquet"
EXEMPLARS = "exemplars.npz"
# Where layers.parquet has a value of the whole network instead of a layer's name.
NETWORK = "(network)"
# Of a curve MLflow gets so many points, log-spaced; layers.parquet has all.
POINTS = 6
# In the records, but not in MLflow, where forty keys a run are enough: the prediction is one of the start
# already, and when which ties broke is what ``initlab symmetry`` tells.
UNLOGGED = ("init/symmetry/predicted_width", "symmetry/first_break", "symmetry/lasting_break", "test/loss")
SPREADS = ("val/accuracy", "test/accuracy", "redundancy/effective_width", "saturation/flat_fraction")


def metrics_of(
    record: TrialRecord, ended: float, objective: float | None = None, named: Sequence[str] = ()
) -> list[Metric]:
    """Some points of each curve with their steps, then what has no step.

    Of the probes the headline ones and those in ``named``: each key is a chart in MLflow's
    UI, which freezes with many. ``layers.parquet`` has all.

    Values that aren't finite are left out and counted. A curve that doesn't end in a finite
    value is left out whole: MLflow shows a metric's last value, which would be an old one.

    Args:
        ended: seconds since the epoch.
    """
    now = round(ended * 1000)
    verdict = [Metric("verdict/score", record.verdict.score, now, 0)] if record.verdict else []
    return verdict + (_trained_metrics(record, objective, named, now) if record.members else [])


def _trained_metrics(record: TrialRecord, objective: float | None, named: Sequence[str], now: int) -> list[Metric]:
    hidden = {name for name in PROBES if not PROBES[name].headline} - set(named)
    curves = {name: curve for name, curve in record.curves().items() if name not in hidden}
    means = {name: value for name, value in record.means().items() if name.removeprefix("init/") not in hidden}
    sound = {name: curve for name, curve in curves.items() if math.isfinite(curve[max(curve)])}
    bad = sum(name not in sound or not math.isfinite(value) for name, c in curves.items() for value in c.values())
    last = max(step for curve in curves.values() for step in curve)
    points = [(name, value, last) for name, value in means.items() if name not in (*curves, *UNLOGGED)]
    points += [(f"spread/{name}", record.spread(name), last) for name in SPREADS if name in record.members[0].final]
    points += [(name, value, last) for name, value in _best(curves).items()]
    if objective is not None:
        points.append(("search/objective", objective, last))
    points.append(("health/diverged_replicates", float(record.diverged), last))
    if record.failed:
        points.append(("health/unmeasured_replicates", float(record.unmeasured), last))
    bad += sum(not math.isfinite(value) for _, value, _ in points)
    points.append(("health/nonfinite_values", float(bad), last))
    points += [(name, value, step) for name, curve in sound.items() for step, value in _some(curve)]
    return [Metric(name, value, now, step) for name, value, step in points if math.isfinite(value)]


def _some(curve: Curve) -> list[tuple[int, float]]:
    """At most ``POINTS`` of a curve, the first and the last among them."""
    points = sorted(curve.items())
    return points if len(points) <= POINTS else [points[i] for i in log_spaced(len(points) - 1, POINTS)]


def _best(curves: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    accuracy = curves["val/accuracy"]
    best_step = max(accuracy, key=lambda step: accuracy[step])
    return {"best/val/accuracy": accuracy[best_step], "best/step": float(best_step)}


def params_of(config: Config, swept: Mapping[str, object], seeds: Sequence[int]) -> list[Param]:
    """The identifying keys and the swept ones."""
    params: dict[str, object] = {
        "dataset": config.dataset.name,
        "weight_init": config.weight_init.name,
        "weight_init.scale": config.weight_init.scale,
        "bias_init": config.bias_init.name,
        "bias_init.value": config.bias_init.value,
        "optimizer": config.optimizer.name,
        "optimizer.lr": config.optimizer.lr,
        "trainer.epochs": config.trainer.epochs,
        "trainer.batch_size": config.trainer.batch_size,
        "trainer.dtype": config.trainer.dtype,
        "trainer.execution": config.trainer.execution,
        "seed": config.seed,
        **_own_places(config),
        "seeds": ",".join(map(str, seeds)),
    }
    model = {f"model.{key}": value for key, value in flatten(config.model.model_dump(by_alias=True)).items()}
    if not isinstance(config.model, CustomModel):
        del model["model._target_"]
    return [Param(k, str(v)[:6000]) for k, v in (params | model | dict(swept)).items()]


def _own_places(config: Config) -> dict[str, object]:
    """``weight_init.layers.last`` and so on, where a place has a scheme of its own."""
    sections = {"weight_init": config.weight_init.layers, "bias_init": config.bias_init.layers}
    return {
        f"{name}.layers.{key}": value
        for name, layers in sections.items()
        for key, value in flatten(layers.model_dump()).items()
        if value is not None
    }


def identity_tags(kind: str, config: Config, study: str | None, digest: str) -> dict[str, str]:
    """The tags that every run of the lab carries."""
    tags = {"initlab.kind": kind, "initlab.config_hash": config_hash(config), "initlab.data_digest": digest}
    return tags | ({"initlab.study": study} if study else {})


def run_tags(tags: Mapping[str, str]) -> list[RunTag]:
    """MLflow's form of tags."""
    return [RunTag(key, value[:8000]) for key, value in tags.items()]


def dataset_input(data: Dataset) -> DatasetInput:
    """The dataset as MLflow shows it: schema, profile, and the digest of the data and split."""
    dataset = mlflow.data.from_numpy(  # type: ignore[attr-defined]
        data.x_train.numpy(), targets=data.y_train.numpy(), name=data.name, digest=data.digest[:32]
    )
    return DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])


def chance(data: Dataset) -> float:
    """Test accuracy of always guessing the class that is most frequent in the training part."""
    guess = int(data.y_train.bincount(minlength=data.n_classes).argmax())
    return float((data.y_test == guess).to(torch.float64).mean())


def artifacts_of(config: Config, record: TrialRecord | None = None) -> dict[str, bytes]:
    """``config.yaml``, and of a record ``layers.parquet`` and ``replicates.parquet``: ``{name: content}``."""
    found = {"config.yaml": to_yaml(config).encode()}
    if record is not None and record.members:
        found |= {LAYERS: _parquet(_layer_table(record)), REPLICATES: replicates_of(record)}
    return found


def replicates_of(record: TrialRecord) -> bytes:
    """``replicates.parquet`` of a record."""
    return _parquet(_replicate_table(record))


def _parquet(table: pa.Table) -> bytes:
    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    return bytes(buffer.getvalue())


def _layer_table(record: TrialRecord) -> pa.Table:
    """One row a (replicate, step, layer, metric): ``replicate seed step layer metric value``.

    Every curve of the whole network, with each epoch, stands beside the layers' under ``NETWORK``.
    """
    columns = Columns("step", "layer", "metric", "value")
    for i, member in enumerate(record.members):
        for look in member.looks:
            columns.add(i, member, repeat(look.step, len(look.of)), *zip(*look.of, strict=True), look.values)
        for name, curve in member.curves.items():
            columns.add(i, member, curve.keys(), repeat(NETWORK, len(curve)), repeat(name, len(curve)), curve.values())
    return columns.table()


def _replicate_table(record: TrialRecord) -> pa.Table:
    """One row a (replicate, metric): ``replicate seed metric value``.

    Metrics at the end, those before the first step as ``init/...``, and ``health/diverged``.
    """
    columns = Columns("metric", "value")
    for i, member in enumerate(record.members):
        found = member.final | {f"init/{name}": value for name, value in member.init.items()}
        found["health/diverged"] = float(member.diverged_step is not None)
        columns.add(i, member, found.keys(), found.values())
    return columns.table()


class Columns:
    """A table in the making: ``replicate``, ``seed`` and the named columns."""

    TYPES: Mapping[str, pa.DataType] = {
        "replicate": pa.int32(),
        "seed": pa.int64(),
        "step": pa.int64(),
        "layer": pa.string(),
        "metric": pa.string(),
        "value": pa.float64(),
    }

    def __init__(self, *names: str) -> None:
        self._columns: dict[str, list[object]] = {name: [] for name in ("replicate", "seed", *names)}

    def add(self, replicate: int, member: MemberRecord, *values: Iterable[object]) -> None:
        """Adds rows of one member: as many as each of the values has."""
        own = list(self._columns.values())
        for column, added in zip(own[2:], values, strict=False):
            column.extend(added)
        count = len(own[2]) - len(own[0])
        own[0].extend(repeat(replicate, count))
        own[1].extend(repeat(member.seed, count))

    def table(self) -> pa.Table:
        return pa.table({name: pa.array(column, self.TYPES[name]) for name, column in self._columns.items()})
