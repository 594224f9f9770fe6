"""Writes a study: itself as a parent run, its trials as children."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd
from mlflow.entities import DatasetInput, Metric, Run

from pipeline.config import Config
from pipeline.data import Dataset
from pipeline.names import own_name
from pipeline.provenance import git_commit, versions
from pipeline.records import TrialRecord
from pipeline.tracking.artifacts import send, settle_below
from pipeline.tracking.children import PRUNED, TRIAL, Children
from pipeline.tracking.confirmation import Confirmation
from pipeline.tracking.entities import (
    EXEMPLARS,
    REPLICATES,
    artifacts_of,
    chance,
    dataset_input,
    identity_tags,
    params_of,
    replicates_of,
    run_tags,
)
from pipeline.tracking.finished import FinishedRun, log_dataset
from pipeline.tracking.outage import Outage, watched
from pipeline.tracking.prepared import failed_probes, finished
from pipeline.tracking.reading import equals, search
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.trial import TrialRun
from pipeline.tracking.views import share_view

__all__ = ["StudyTracker", "ended", "find_parent", "pruned", "trial_numbers"]

NOTE = "mlflow.note.content"
SHOWN = "initlab.exemplars_of"
LATER = "; later "

Result = TypeVar("Result")


def find_parent(store: Store, study: str) -> Run | None:
    """The parent run of a study, None if there is none yet."""
    found = search(store, f"{equals('tags.`initlab.study`', study)} AND tags.`initlab.kind` = 'study'")
    return next((run for run in found if run.data.tags["initlab.study"] == study), None)


class StudyTracker:
    """The runs of one study, and a ``Courier`` of their ``Writer``.

    ``begin``, ``write``, ``tidy`` and ``close`` fail when the store is away; the others wait for it.

    Args:
        owner: the name of the writer.
        outage: says when the store is away.
        command: what the user typed, without passwords.
        alive: says of other writers of the study whether they live; None: nobody does.
    """

    def __init__(
        self,
        config: Config,
        study: str,
        axes: Sequence[str],
        data: Dataset,
        owner: str = "",
        outage: Outage | None = None,
        alive: Callable[[str], bool] | None = None,
        command: str = "",
    ) -> None:
        self.config, self.study, self.axes, self.data, self.command = config, study, axes, data, command
        self.owner = owner or own_name()
        self.outage = outage or Outage(config)
        self._alive = alive or _nobody
        self.parent = ""
        self._begun = False

    @cached_property
    def store(self) -> Store:
        """The store, opened when it is first needed (a fresh one takes seconds)."""
        return open_store(self.config)

    @cached_property
    def children(self) -> Children:
        """Writes the trials' runs, once the study has begun."""
        return Children(self.store, self.parent, self.owner, self._alive)

    @cached_property
    def _inputs(self) -> DatasetInput:
        return dataset_input(self.data)

    def begin(self) -> None:
        """Creates the parent run, or takes it up again; once that is done it does nothing."""
        if not self._begun:
            self._begin()
            self._begun = True

    def _begin(self) -> None:
        client = self.store.client
        found = find_parent(self.store, self.study)
        if found is not None:
            self.parent = found.info.run_id
            client.update_run(self.parent, status="RUNNING")
            for key, value in self._origin().items():
                client.set_tag(self.parent, key, also(found.data.tags.get(key, ""), value)[:8000])
            if "search.axes" not in found.data.params:  # cut off while it was being described
                self._describe()
            return
        tags = identity_tags("study", self.config, self.study, self.data.digest)
        tags |= {"mlflow.source.name": "initlab sweep", "mlflow.source.type": "LOCAL", **self._origin()}
        if commit := git_commit():
            tags["mlflow.source.git.commit"] = commit
        if self.config.study.question:
            tags["initlab.question"] = self.config.study.question
        run = client.create_run(self.store.experiment, tags=tags, run_name=self.study)
        self.parent = run.info.run_id
        self._describe()

    def _origin(self) -> dict[str, str]:
        """What the study's networks come from, as tags."""
        found = {
            "initlab.command": self.command,
            "initlab.commit": git_commit(),
            "initlab.versions": ", ".join(f"{name} {number}" for name, number in versions().items()),
        }
        return {key: value[:8000] for key, value in found.items() if value}

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
        log_dataset(self.store, self.parent, self._inputs)
        self.log_content(artifacts_of(self.config))
        client.log_batch(self.parent, params=kept)  # last: where they are, all is

    def log(self, trials: Sequence[TrialRun]) -> None:
        """One child run for each trial, finished or pruned."""
        self.write([self.prepare(trial) for trial in trials])

    def prepare(self, trial: TrialRun) -> FinishedRun:
        """What is to be stored of a trial; whose child it is to be, ``write`` knows."""
        tags = identity_tags("trial", trial.config, self.study, self.data.digest)
        return finished(trial, tags | {TRIAL: str(trial.number)}, self._inputs)

    @property
    def at_once(self) -> int:
        """How many runs ``write`` should be given."""
        return self.children.at_once

    def write(self, runs: Sequence[FinishedRun], again: bool = False) -> None:
        """Stores child runs; ``again``: some may be there already."""
        self.children.write(runs, again)

    def tidy(self) -> None:
        """Takes away what calls that failed have left."""
        self.children.tidy()

    def patiently(self, call: Callable[[], Result]) -> Result:
        """What a call gives that needs the store; it is repeated while that is away."""
        return self.outage.patiently(lambda: watched(call))

    def log_confirmation(self, confirmation: Confirmation, record: TrialRecord) -> None:
        """What became of the winner on fresh seeds, on the parent."""
        now = int(time.time() * 1000)
        metrics = [Metric(name, value, now, 0) for name, value in confirmation.metrics.items()]
        tags = confirmation.tags | failed_probes(record)

        def log() -> None:
            self.log_content({REPLICATES: replicates_of(record)})
            self.store.client.log_batch(self.parent, metrics=metrics, tags=run_tags(tags))

        self.patiently(log)

    @property
    def exemplars_of(self) -> int | None:
        """The winner beside which the networks on record were trained, None if there are none."""
        found = self.patiently(lambda: self.store.client.get_run(self.parent)).data.tags.get(SHOWN)
        return int(found) if found is not None else None

    def log_exemplars(self, content: bytes, trial: int) -> None:
        """The networks that the report shows, and beside which winner they were trained."""

        def log() -> None:
            self.log_content({EXEMPLARS: content})
            self.store.client.set_tag(self.parent, SHOWN, str(trial))

        self.patiently(log)

    def show(self, note: str) -> None:
        """What the MLflow UI tells of the study: its description, in Markdown, and a view of its trials."""

        def show() -> None:
            self.store.client.set_tag(self.parent, NOTE, note)
            share_view(self.store, self.study, self.axes, self.config.search.objective == "val/loss")

        self.patiently(show)

    def log_files(self, folder: Path) -> None:
        """Files for people, as artifacts of the parent: each by itself, or a poor line would never carry them all."""
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            place = path.parent.relative_to(folder).as_posix()
            inside = place if place != "." else None
            self.patiently(partial(self.store.client.log_artifact, self.parent, str(path), inside))
        self.patiently(lambda: settle_below(self.store.client.get_run(self.parent).info.artifact_uri))

    def log_content(self, files: Mapping[str, bytes]) -> None:
        """Artifacts of the parent: ``{file name: content}``."""
        send(self.store.client, self.store.client.get_run(self.parent), files)

    def end(self, status: str) -> None:
        """Closes the parent: FINISHED, FAILED or KILLED."""
        self.patiently(lambda: self.close(status))

    def close(self, status: str) -> None:
        """The same, without waiting for the store."""
        self.store.client.set_terminated(self.parent, status)


def also(known: str, value: str) -> str:
    """What is known of a study's origin, and what is added as it goes on under something else."""
    said = known.split(LATER) if known else []
    return LATER.join([*said, value]) if value not in said else known


def ended(children: pd.DataFrame) -> "pd.Series[bool]":
    """Which of the runs are trials that were trained to their end."""
    return children["status"] == "FINISHED"


def pruned(children: pd.DataFrame) -> "pd.Series[bool]":
    """Which of them were not trained, or not to their end."""
    return _tags(children, PRUNED) == "true"


def trial_numbers(children: pd.DataFrame) -> "pd.Series[int]":
    """Which trial each of them is."""
    return _tags(children, TRIAL).astype(int)


def _tags(children: pd.DataFrame, key: str) -> "pd.Series[Any]":
    """A tag of each of them, NaN for those without; a table of no runs has no column for it."""
    found: pd.Series[Any] = children.get(f"tags.{key}", pd.Series(index=children.index, dtype=object))
    return found


def _nobody(owner: str) -> bool:
    return False
