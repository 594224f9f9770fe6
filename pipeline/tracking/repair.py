"""Whether MLflow holds what the search holds, trial by trial, and how the one is mended to fit the other.

What a crash leaves in MLflow: trials that it lacks, some of whose runs wait on disk; runs that
nobody writes any more; two runs of one trial. The search's word counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TypeVar

import pandas as pd

from pipeline.config import Config
from pipeline.errors import RunError
from pipeline.names import counted, own_name
from pipeline.tracking.children import OWNER, PRUNED, TRIAL, Children, is_whole
from pipeline.tracking.finished import FinishedRun, log_dataset
from pipeline.tracking.outage import Outage, watched
from pipeline.tracking.packing import DamagedError, unpack
from pipeline.tracking.reading import children_of
from pipeline.tracking.runs import find_parent
from pipeline.tracking.spool import left_behind, set_aside, spool_dir, waiting_in
from pipeline.tracking.store import Store, open_store

__all__ = ["Disagreement", "Mended", "Outcome", "compare", "mend"]

OBJECTIVE = "search/objective"
# Seconds for which one run is tried that waited on disk.
RUN_PATIENCE_S = 30.0

Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome:
    """What the search holds of a finished trial.

    Attributes:
        value: its objective; None if it was pruned.
    """

    pruned: bool
    value: float | None


Finished = Callable[[], Mapping[int, Outcome]]
"""tells the finished trials by number; it is asked after MLflow's side has been read"""
Alive = Callable[[str], bool]


@dataclass(frozen=True)
class Disagreement:
    """Where MLflow and the search differ: numbers of trials.

    Attributes:
        missing: finished, but without a whole run. waiting: those of them whose runs wait on disk.
        doubled: with several whole runs. differs: with another value or end than the search has.
        unfinished: with a run that was begun and is not being written. extra: that the search
            doesn't hold as finished.
    """

    missing: tuple[int, ...] = ()
    waiting: tuple[int, ...] = ()
    doubled: tuple[int, ...] = ()
    differs: tuple[int, ...] = ()
    unfinished: tuple[int, ...] = ()
    extra: tuple[int, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.doubled or self.differs or self.unfinished or self.extra)

    def sentences(self) -> list[str]:
        """In words, a line a kind."""
        said = {
            "without a run in MLflow": self.missing,
            "of these with a run that waits on disk": self.waiting,
            "with two runs in MLflow": self.doubled,
            "with another value in MLflow": self.differs,
            "with a run in MLflow that nobody writes": self.unfinished,
            "in MLflow that the search doesn't hold as finished": self.extra,
        }
        return [f"{counted(len(trials), 'trial')} {what}: {_listed(trials)}" for what, trials in said.items() if trials]


@dataclass
class Mended:
    """What was done.

    Attributes:
        delivered: runs that waited on disk. deleted: child runs, by why.
        missing: finished trials that MLflow lacks, whose runs wait nowhere.
        damaged: files that could not be read. refused: those whose runs the store does not take.
    """

    delivered: int = 0
    deleted: dict[str, int] = field(default_factory=dict)
    missing: tuple[int, ...] = ()
    damaged: list[Path] = field(default_factory=list)
    refused: list[Path] = field(default_factory=list)


@dataclass(frozen=True)
class _Child:
    run_id: str
    trial: int
    status: str
    pruned: bool
    owner: str
    value: float | None

    @property
    def whole(self) -> bool:
        return is_whole(self.status, self.pruned)

    def agrees(self, outcome: Outcome) -> bool:
        return self.pruned == outcome.pruned and self.value == outcome.value


def compare(config: Config, study: str, finished: Finished, alive: Alive) -> Disagreement:
    """Looks where MLflow and the search differ, and changes nothing.

    Args:
        alive: says of a writer by name whether it lives.
    """
    folder = spool_dir(config, study)
    store = open_store(config)
    parent = find_parent(store, study)
    children = _children(store, parent.info.run_id) if parent is not None else []
    told = finished()
    whole = _by_trial(child for child in children if child.whole)
    known = {trial: found for trial, found in whole.items() if trial in told}
    missing = sorted(told.keys() - known.keys())
    return Disagreement(
        missing=tuple(missing),
        waiting=tuple(sorted(waiting_in(folder) & set(missing))),
        doubled=tuple(trial for trial, found in known.items() if len(found) > 1),
        differs=tuple(trial for trial, found in known.items() if not any(c.agrees(told[trial]) for c in found)),
        unfinished=tuple(sorted({c.trial for c in children if not c.whole and not _written(c, alive)})),
        extra=tuple(trial for trial in whole if trial not in told),
    )


def mend(config: Config, study: str, finished: Finished, outage: Outage, alive: Alive, owner: str = "") -> Mended:
    """Makes MLflow hold one run for each finished trial, as far as that can be done without training.

    What a writer that lives is at is left alone. Of several whole runs of a trial the earliest
    that agrees with the search stays.

    Args:
        alive: as for ``compare``.
        owner: the name under which runs are delivered.
    """
    folder = spool_dir(config, study)
    mended = Mended()

    def patiently(call: Callable[[], Result]) -> Result:
        return outage.patiently(lambda: watched(call))

    store = patiently(lambda: open_store(config))
    parent = patiently(lambda: find_parent(store, study))
    if parent is None:
        mended.missing = tuple(sorted(finished()))
        return mended
    children = patiently(lambda: _children(store, parent.info.run_id))
    told = finished()
    for child, why in _superfluous(children, told, alive):
        patiently(partial(store.client.delete_run, child.run_id))
        mended.deleted[why] = mended.deleted.get(why, 0) + 1
    writer = Children(store, parent.info.run_id, owner or own_name(), alive)
    _deliver(writer, _left(folder, study, told, mended), mended, outage)
    there = {child.trial for child in patiently(lambda: _children(store, parent.info.run_id)) if child.whole}
    mended.missing = tuple(sorted(told.keys() - there - waiting_in(folder)))
    return mended


def _deliver(writer: Children, left: Iterator[tuple[Path, FinishedRun]], mended: Mended, outage: Outage) -> None:
    """Writes runs in their order. One that can't be written does not keep the others out; of two the store is away."""
    failed = False
    for path, run in left:
        try:
            outage.patiently(partial(watched, partial(_write, writer, run)), min(outage.patience_s, RUN_PATIENCE_S))
        except RunError:
            if failed:
                raise
            mended.refused.append(path)
        else:
            path.unlink()
            mended.delivered += 1
        failed = path in mended.refused


def _write(writer: Children, run: FinishedRun) -> None:
    """The parent may have been cut off before it named the dataset, which rows of children point to."""
    log_dataset(writer.store, writer.parent, run.inputs)
    writer.write([run], again=True)


def _superfluous(children: Sequence[_Child], told: Mapping[int, Outcome], alive: Alive) -> Iterator[tuple[_Child, str]]:
    """Child runs that are to be deleted, and why."""
    for trial, found in _by_trial(children).items():
        for child in found:
            if not child.whole and not _written(child, alive):
                yield child, "left unfinished"
        whole = [child for child in found if child.whole]
        if trial not in told:
            yield from ((child, "of no finished trial") for child in whole if not alive(child.owner))
        elif len(whole) > 1:
            stays = next((child for child in whole if child.agrees(told[trial])), whole[0])
            yield from ((child, "doubled") for child in whole if child is not stays)


def _written(child: _Child, alive: Alive) -> bool:
    """Whether somebody is writing it."""
    return child.status == "RUNNING" and alive(child.owner)


def _left(folder: Path, study: str, told: Mapping[int, Outcome], mended: Mended) -> Iterator[tuple[Path, FinishedRun]]:
    """The files in spools that nobody owns, with their runs, as far as the search knows these; others go."""
    for spool in left_behind(folder):
        for path in spool.files():
            try:
                run = unpack(path.read_bytes())
            except DamagedError:
                mended.damaged.append(set_aside(path))
                continue
            if _is_of(run, study, told):
                yield path, run
            else:
                path.unlink()


def _is_of(run: FinishedRun, study: str, told: Mapping[int, Outcome]) -> bool:
    """Whether a run is that of a finished trial: the search may have been begun anew."""
    number = run.tags.get(TRIAL, "")
    outcome = told.get(int(number)) if number.isdecimal() else None
    value = next((metric.value for metric in run.metrics if metric.key == OBJECTIVE), None)
    pruned = PRUNED in run.tags
    return run.tags.get("initlab.study") == study and outcome == Outcome(pruned, value)


def _children(store: Store, parent: str) -> list[_Child]:
    """The children of a run by trial, of each trial the earliest first."""
    table = children_of(store, parent, ["tags", "metrics"], [TRIAL, PRUNED, OWNER, OBJECTIVE])
    wanted = {"trial": f"tags.{TRIAL}", "pruned": f"tags.{PRUNED}", "owner": f"tags.{OWNER}"}
    table = table.reindex(columns=["run_id", "status", *wanted.values(), f"metrics.{OBJECTIVE}"])
    rows = (_child(*row) for row in table.itertuples(index=False, name=None) if not pd.isna(row[2]))
    return sorted(rows, key=lambda child: child.trial)


def _child(run_id: str, status: str, trial: str, pruned: object, owner: object, value: float) -> _Child:
    known = None if pd.isna(value) else float(value)
    return _Child(run_id, int(trial), status, pruned == "true", owner if isinstance(owner, str) else "", known)


def _by_trial(children: Iterator[_Child] | Sequence[_Child]) -> dict[int, list[_Child]]:
    return {trial: list(found) for trial, found in groupby(children, key=lambda child: child.trial)}


def _listed(trials: Sequence[int], most: int = 10) -> str:
    """The first numbers, and whether there are more."""
    return ", ".join(map(str, trials[:most])) + (", ..." if len(trials) > most else "")
