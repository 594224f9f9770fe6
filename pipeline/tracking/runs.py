"""Writes runs: a study as a parent, its trials as children, or a single training."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from mlflow.entities import DatasetInput, Metric, Run
from mlflow.exceptions import MlflowException

from pipeline.config import Config
from pipeline.data import Dataset
from pipeline.names import run_title
from pipeline.records import MemberRecord, TrialRecord, Verdict
from pipeline.tracking.confirmation import Confirmation
from pipeline.tracking.entities import (
    chance,
    dataset_input,
    identity_tags,
    metrics_of,
    params_of,
    run_tags,
    write_artifacts,
)
from pipeline.tracking.store import Store, open_store

__all__ = ["StudyTracker", "find_parent", "finished_children", "pruned_children", "track_single"]

PARENT = "mlflow.parentRunId"
PRUNED = "initlab.pruned"
REASON = "initlab.pruned_reason"
NOTE = "mlflow.note.content"
PAGE = 1000


def quoted(text: str) -> str:
    """A string literal of MLflow's search language."""
    return "'" + text.replace("'", "''") + "'"


def find_parent(store: Store, study: str) -> Run | None:
    """The parent run of a study, None if there is none yet."""
    runs = store.client.search_runs(
        [store.experiment], f"tags.`initlab.study` = {quoted(study)} AND tags.`initlab.kind` = 'study'", max_results=1
    )
    return runs[0] if runs else None


def finished_children(store: Store, parent: str) -> list[Run]:
    """All finished child runs of a parent."""
    return _children(store, parent, "attributes.status = 'FINISHED'")


def pruned_children(store: Store, parent: str) -> list[Run]:
    """The child runs of trials that were judged and not trained."""
    return _children(store, parent, f"tags.`{PRUNED}` = 'true'")


def _children(store: Store, parent: str, condition: str) -> list[Run]:
    children = f"tags.`{PARENT}` = {quoted(parent)} AND {condition}"
    runs: list[Run] = []
    token = None
    while True:
        page = store.client.search_runs([store.experiment], children, max_results=PAGE, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def log_dataset(store: Store, run_id: str, inputs: DatasetInput) -> None:
    """Names the dataset of a run.

    MLflow looks whether it knows the dataset and adds it if not. Of two processes that do
    so at once one is refused; by then the dataset is known, so it asks again.
    """
    try:
        store.client.log_inputs(run_id, datasets=[inputs])
    except MlflowException:
        store.client.log_inputs(run_id, datasets=[inputs])


class StudyTracker:
    """The runs of one study. Every method writes at once; a ``Writer`` runs them beside the training."""

    def __init__(self, config: Config, study: str, axes: Sequence[str], data: Dataset) -> None:
        self.config, self.study, self.axes, self.data = config, study, axes, data
        self._inputs: DatasetInput | None = None
        self._store: Store | None = None
        self.parent = ""

    @property
    def store(self) -> Store:
        """The store, opened when it is first needed (a fresh one takes seconds)."""
        if self._store is None:
            self._store = open_store(self.config)
        return self._store

    def begin(self) -> None:
        """Creates the parent run, or takes it up again."""
        client = self.store.client
        found = find_parent(self.store, self.study)
        if found is not None:
            self.parent = found.info.run_id
            client.update_run(self.parent, status="RUNNING")
            self._close_stale()
            if "search.axes" not in found.data.params:  # cut off while it was being described
                self._describe()
            return
        tags = identity_tags("study", self.config, self.study, self.data.digest)
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
        log_dataset(self.store, self.parent, self._dataset())
        with tempfile.TemporaryDirectory() as folder:
            write_artifacts(Path(folder), self.config)
            client.log_artifacts(self.parent, folder)

    def log_trial(
        self,
        number: int,
        config: Config,
        values: Mapping[str, object],
        record: TrialRecord,
        objective: float | None,
        started: float,
    ) -> None:
        """One child run for a finished or pruned trial. started: seconds since the epoch."""
        tags = identity_tags("trial", config, self.study, self.data.digest)
        tags |= {PARENT: self.parent, "initlab.trial": str(number)}
        metrics = metrics_of(record, objective, config.probes.only or ())
        _write_run(self.store, tags, config, values, record, metrics, self._dataset(), started)

    def logged(self) -> set[int]:
        """Numbers of the trials that have a finished child run, or that of a pruned one."""
        runs = finished_children(self.store, self.parent) + pruned_children(self.store, self.parent)
        return {int(run.data.tags["initlab.trial"]) for run in runs}

    def log_confirmation(self, confirmation: Confirmation) -> None:
        """What became of the winner on fresh seeds, on the parent."""
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in confirmation.metrics.items()]
        self.store.client.log_batch(self.parent, metrics=metrics, tags=run_tags(confirmation.tags))

    def log_note(self, text: str) -> None:
        """The parent's description, in Markdown."""
        self.store.client.set_tag(self.parent, NOTE, text)

    def log_files(self, folder: Path) -> None:
        """Files for people, as artifacts of the parent."""
        self.store.client.log_artifacts(self.parent, str(folder))

    def end(self, status: str) -> None:
        """Closes the parent: FINISHED, FAILED or KILLED."""
        self.store.client.set_terminated(self.parent, status)

    def _dataset(self) -> DatasetInput:
        if self._inputs is None:
            self._inputs = dataset_input(self.data)
        return self._inputs

    def _close_stale(self) -> None:
        """A process that was killed leaves a child RUNNING: its trial is given again."""
        children = f"tags.`{PARENT}` = {quoted(self.parent)} AND attributes.status = 'RUNNING'"
        for run in self.store.client.search_runs([self.store.experiment], children):
            self.store.client.set_terminated(run.info.run_id, "KILLED")


def track_single(config: Config, data: Dataset, record: MemberRecord, verdict: Verdict, started: float) -> str:
    """Writes the run of a single training; returns its id."""
    tags = identity_tags("train", config, None, data.digest)
    trial = TrialRecord([record], verdict)
    metrics = metrics_of(trial, named=config.probes.only or ())
    return _write_run(open_store(config), tags, config, {}, trial, metrics, dataset_input(data), started)


def _write_run(
    store: Store,
    tags: Mapping[str, str],
    config: Config,
    values: Mapping[str, object],
    record: TrialRecord,
    metrics: list[Metric],
    inputs: DatasetInput,
    started: float,
) -> str:
    client = store.client
    all_tags = {**tags, **({"initlab.verdict": record.verdict.sentence} if record.verdict else {})}
    if record.pruned:
        all_tags |= {PRUNED: "true"} | ({REASON: record.reason} if record.reason else {})
    run = client.create_run(
        store.experiment, start_time=int(started * 1000), tags=all_tags, run_name=run_title(config, values)
    )
    run_id: str = run.info.run_id
    try:
        log_dataset(store, run_id, inputs)
        seeds = [member.seed for member in record.members]
        params = params_of(config, values, seeds)
        for start in range(0, len(metrics), 1000):
            client.log_batch(run_id, metrics=metrics[start : start + 1000], params=params if start == 0 else [])
        with tempfile.TemporaryDirectory() as folder:
            write_artifacts(Path(folder), config, record)
            client.log_artifacts(run_id, folder)
        # What was not trained to its end has not finished, and reports that read finished runs leave it out.
        client.set_terminated(run_id, "KILLED" if record.pruned else "FINISHED")
    except BaseException:
        with suppress(MlflowException):
            client.set_terminated(run_id, "FAILED")
        raise
    return run_id
