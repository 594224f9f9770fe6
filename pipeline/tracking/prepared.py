"""From a trial that has ended to the run that is stored of it."""

from collections.abc import Mapping

from mlflow.entities import DatasetInput

from pipeline.names import run_title
from pipeline.records import TrialRecord
from pipeline.tracking.children import PRUNED
from pipeline.tracking.entities import artifacts_of, metrics_of, params_of
from pipeline.tracking.finished import FinishedRun
from pipeline.tracking.trial import TrialRun

__all__ = ["REASON", "failed_probes", "finished"]

REASON = "initlab.pruned_reason"
FAILED = "initlab.failed_probes"


def finished(trial: TrialRun, tags: Mapping[str, str], inputs: DatasetInput) -> FinishedRun:
    """The run of a trial.

    Args:
        tags: what else the run is to carry.
    """
    config, record = trial.config, trial.record
    all_tags = {**tags, **({"initlab.verdict": record.verdict.sentence} if record.verdict else {})}
    all_tags |= failed_probes(record)
    if record.pruned:
        all_tags |= {PRUNED: "true"} | ({REASON: record.reason} if record.reason else {})
    mode = {"trainer.execution": record.members[0].execution} if record.members else {}
    return FinishedRun(
        name=run_title(config, trial.values)[:250],
        # What was not trained to its end has not finished, and reports that read finished runs leave it out.
        status="KILLED" if record.pruned else "FINISHED",
        started=trial.started,
        ended=trial.ended,
        tags={key: value[:8000] for key, value in all_tags.items()},
        params=params_of(config, {**trial.values, **mode}, [member.seed for member in record.members]),
        metrics=metrics_of(record, trial.ended, trial.objective, config.probes.only or ()),
        inputs=inputs,
        artifacts=artifacts_of(config, record),
    )


def failed_probes(record: TrialRecord) -> dict[str, str]:
    """The tag that says which probes failed and why, if any did."""
    said = "; ".join(f"{name}: {error}" for name, error in record.failed.items())
    return {FAILED: said} if said else {}
