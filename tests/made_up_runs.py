"""Trials and runs of made-up numbers, whole enough to be stored."""

import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param

from pipeline.config import Config
from pipeline.records import MemberRecord, TrialRecord, Verdict
from pipeline.tracking import FinishedRun, TrialRun

__all__ = ["run_of", "trial_of"]


def run_of(number: int, study: str = "s", value: float | None = 0.5) -> FinishedRun:
    """The run of a finished trial, or without a value of a pruned one."""
    rng = np.random.default_rng(number)
    return FinishedRun(
        name=f"trial {number}",
        status="KILLED" if value is None else "FINISHED",
        started=100.0 + number,
        ended=101.0 + number / 3,
        tags={"initlab.study": study, "initlab.trial": str(number)}
        | ({"initlab.pruned": "true"} if value is None else {}),
        params=[Param("weight_init.scale", "1.5"), Param("note", "é, ' and \"")],
        metrics=[Metric("val/accuracy", float(rng.random()), 5, step) for step in range(3)]
        + ([] if value is None else [Metric("search/objective", value, 5, 2)]),
        inputs=DatasetInput(
            Dataset("digits", "d1", "code", "{}", schema='{"a": 1}'), [InputTag("mlflow.data.context", "training")]
        ),
        artifacts={"config.yaml": b"a: 1\n", "layers.parquet": rng.bytes(300)},
    )


def trial_of(config: Config, number: int, accuracy: float | None = 0.5) -> TrialRun:
    """A trial that has ended, or without an accuracy was pruned."""
    values = {"weight_init.scale": 1.0 + number, "bias_init.value": 0.0}
    if accuracy is None:
        record = TrialRecord([], Verdict(0.0, "hopeless", True), "hopeless")
        return TrialRun(number, config, values, record, None, 100.0 + number)
    curve = {"val/accuracy": {0: 0.1, 16: accuracy}, "train/loss": {0: 2.0, 16: 1 - accuracy}}
    member = MemberRecord(0, {"val/accuracy": accuracy, "test/accuracy": accuracy}, {}, curve)
    return TrialRun(number, config, values, TrialRecord([member]), accuracy, 100.0 + number)
