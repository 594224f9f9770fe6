"""Writes runs: a study as a parent, its trials as children, or a single training."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.entities import DatasetInput, Metric, Run

from pipeline.config import Config
from pipeline.data import Dataset
from pipeline.names import run_title
from pipeline.provenance import git_commit, versions
from pipeline.records import MemberRecord, TrialRecord, Verdict
from pipeline.tracking.artifacts import fill
from pipeline.tracking.confirmation import Confirmation
from pipeline.tracking.entities import (
    EXEMPLARS,
    REPLICATES,
    artifacts_of,
    chance,
    dataset_input,
    identity_tags,
    metrics_of,
    params_of,
    replicates_of,
    run_tags,
)
from pipeline.tracking.finished import FinishedRun, ToClient, Way, log_dataset, way_into
from pipeline.tracking.reading import PARENT, children_of, equals, search
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.trial import TrialRun
from pipeline.tracking.views import share_view

__all__ = ["StudyTracker", "ended", "find_parent", "pruned", "track_single", "trial_numbers"]

PRUNED = "initlab.pruned"
REASON = "initlab.pruned_reason"
NOTE = "mlflow.note.content"
SHOWN = "initlab.exemplars_of"


def find_parent(store: Store, study: str) -> Run | None:
    """The parent run of a study, None if there is none yet."""
    found = search(store, f"{equals('tags.`initlab.study`', study)} AND tags.`initlab.kind` = 'study'")
    return next((run for run in found if run.data.tags["initlab.study"] == study), None)


class StudyTracker:
    """The runs of one study. Every method writes at once; a ``Writer`` runs them beside the training."""

    def __init__(self, config: Config, study: str, axes: Sequence[str], data: Dataset) -> None:
        self.config, self.study, self.axes, self.data = config, study, axes, data
        self.parent = ""

    @cached_property
    def store(self) -> Store:
        """The store, opened when it is first needed (a fresh one takes seconds)."""
        return open_store(self.config)

    @cached_property
    def _way(self) -> Way:
        return way_into(self.store)

    @cached_property
    def _inputs(self) -> DatasetInput:
        return dataset_input(self.data)

    def begin(self, alone: bool = True) -> None:
        """Creates the parent run, or takes it up again; the second time it does nothing.

        Args:
            alone: whether nobody else is at work on the study: then a child that is RUNNING was left behind.
        """
        if self.parent:
            return
        client = self.store.client
        found = find_parent(self.store, self.study)
        if found is not None:
            self.parent = found.info.run_id
            client.update_run(self.parent, status="RUNNING")
            if alone:
                self._close_stale()
            if "search.axes" not in found.data.params:  # cut off while it was being described
                self._describe()
            return
        tags = identity_tags("study", self.config, self.study, self.data.digest)
        tags |= {
            "mlflow.source.name": "initlab sweep",
            "mlflow.source.type": "LOCAL",
            "initlab.versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        }
        if commit := git_commit():
            tags["mlflow.source.git.commit"] = commit
        if self.config.study.question:
            tags["initlab.question"] = self.config.study.question
        run = client.create_run(self.store.experiment, tags=tags, run_name=self.study)
        self.parent = run.info.run_id
        self._describe()

    def _describe(self) -> None:
        client = self.store.client
        params = {
            "search.sampler": self.config.search.sampler,
            "search.replicates": self.config.search.replicates,
            "search.objective": self.config.search.objective,
            "search.axes": ",".join(self.axes),
            "dataset.chance": chance(self.data),
        }
        # What differs from child to child is no property of the study.
        kept = [p for p in params_of(self.config, params, []) if p.key not in {*self.axes, "seeds"}]
        client.log_batch(self.parent, params=kept)
        log_dataset(self.store, self.parent, self._inputs)
        self.log_content(artifacts_of(self.config))

    def log(self, trials: Sequence[TrialRun]) -> None:
        """One child run for each trial, finished or pruned."""
        self._way.write([self._run(trial) for trial in trials])

    def _run(self, trial: TrialRun) -> FinishedRun:
        tags = identity_tags("trial", trial.config, self.study, self.data.digest)
        tags |= {PARENT: self.parent, "initlab.trial": str(trial.number)}
        return _finished(trial, tags, self._inputs)

    def logged(self) -> set[int]:
        """Numbers of the trials that have a finished child run, or that of a pruned one."""
        children = children_of(self.store, self.parent, ["tags"])
        return set(trial_numbers(children[ended(children) | pruned(children)]).tolist())

    def log_confirmation(self, confirmation: Confirmation, record: TrialRecord) -> None:
        """What became of the winner on fresh seeds, on the parent."""
        self.log_content({REPLICATES: replicates_of(record)})
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in confirmation.metrics.items()]
        self.store.client.log_batch(self.parent, metrics=metrics, tags=run_tags(confirmation.tags))

    @property
    def exemplars_of(self) -> int | None:
        """The winner beside which the networks on record were trained, None if there are none."""
        found = self.store.client.get_run(self.parent).data.tags.get(SHOWN)
        return int(found) if found is not None else None

    def log_exemplars(self, content: bytes, trial: int) -> None:
        """The networks that the report shows, and beside which winner they were trained."""
        self.log_content({EXEMPLARS: content})
        self.store.client.set_tag(self.parent, SHOWN, str(trial))

    def show(self, note: str) -> None:
        """What the MLflow UI tells of the study: its description, in Markdown, and a view of its trials."""
        self.store.client.set_tag(self.parent, NOTE, note)
        share_view(self.store, self.study, self.axes, self.config.search.objective == "val/loss")

    def log_files(self, folder: Path) -> None:
        """Files for people, as artifacts of the parent."""
        self.store.client.log_artifacts(self.parent, str(folder))

    def log_content(self, files: Mapping[str, bytes]) -> None:
        """Artifacts of the parent: ``{file name: content}``."""
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), files)
            self.store.client.log_artifacts(self.parent, folder)

    def end(self, status: str) -> None:
        """Closes the parent: FINISHED, FAILED or KILLED."""
        self.store.client.set_terminated(self.parent, status)

    def _close_stale(self) -> None:
        """A process that was killed leaves a child RUNNING: its trial is given again."""
        running = f"{equals(f'tags.`{PARENT}`', self.parent)} AND attributes.status = 'RUNNING'"
        for run in search(self.store, running):
            self.store.client.set_terminated(run.info.run_id, "KILLED")


def ended(children: pd.DataFrame) -> "pd.Series[bool]":
    """Which of the runs are trials that were trained to their end."""
    return children["status"] == "FINISHED"


def pruned(children: pd.DataFrame) -> "pd.Series[bool]":
    """Which of them were not trained, or not to their end."""
    return _tags(children, PRUNED) == "true"


def trial_numbers(children: pd.DataFrame) -> "pd.Series[int]":
    """Which trial each of them is."""
    return _tags(children, "initlab.trial").astype(int)


def _tags(children: pd.DataFrame, key: str) -> "pd.Series[Any]":
    """A tag of each of them, NaN for those without; a table of no runs has no column for it."""
    found: pd.Series[Any] = children.get(f"tags.{key}", pd.Series(index=children.index, dtype=object))
    return found


def track_single(config: Config, data: Dataset, record: MemberRecord, verdict: Verdict, started: float) -> str:
    """Writes the run of a single training; returns its id."""
    tags = identity_tags("train", config, None, data.digest)
    trial = TrialRun(0, config, {}, TrialRecord([record], verdict), None, started)
    (run_id,) = ToClient(open_store(config)).write([_finished(trial, tags, dataset_input(data))])
    return run_id


def _finished(trial: TrialRun, tags: Mapping[str, str], inputs: DatasetInput) -> FinishedRun:
    config, record = trial.config, trial.record
    all_tags = {**tags, **({"initlab.verdict": record.verdict.sentence} if record.verdict else {})}
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
