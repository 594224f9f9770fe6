"""The child runs of a study as they are written: each trial once, whatever went wrong before."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from mlflow.entities import Run

from pipeline.tracking.finished import FinishedRun, Way, way_into
from pipeline.tracking.reading import PARENT, equals, search
from pipeline.tracking.store import Store

__all__ = ["OWNER", "PRUNED", "TRIAL", "Children", "is_whole"]

TRIAL = "initlab.trial"
OWNER = "initlab.owner"
PRUNED = "initlab.pruned"


def is_whole(status: str, pruned: bool) -> bool:
    """Whether a child holds all of its trial: its status is the last thing that is written."""
    return status == "FINISHED" or (status == "KILLED" and pruned)


@dataclass(frozen=True)
class Children:
    """Writes the children of one parent.

    Attributes:
        owner: the writer, by name.
        alive: says of another writer whether it lives.
    """

    store: Store
    parent: str
    owner: str
    alive: Callable[[str], bool]

    @cached_property
    def _way(self) -> Way:
        return way_into(self.store)

    @property
    def at_once(self) -> int:
        """How many runs ``write`` should be given."""
        return self._way.at_once

    def write(self, runs: Sequence[FinishedRun], again: bool = False) -> None:
        """Writes runs, all of them or none, or raises.

        Args:
            again: they may be there already, or in part: a call before this one failed, or its answer was lost.
        """
        wanted = [run for run in runs if not (again and self._is_there(run))]
        if wanted:
            self._way.write([self._addressed(run) for run in wanted])

    def tidy(self) -> None:
        """Takes away what this writer began and didn't end: of runs that have been written again."""
        own = f"{self._own} AND {equals(f'tags.`{OWNER}`', self.owner)} AND attributes.status = 'RUNNING'"
        for run in search(self.store, own):
            self.store.client.delete_run(run.info.run_id)

    @property
    def _own(self) -> str:
        return equals(f"tags.`{PARENT}`", self.parent)

    def _addressed(self, run: FinishedRun) -> FinishedRun:
        return replace(run, tags={**run.tags, PARENT: self.parent, OWNER: self.owner})

    def _is_there(self, run: FinishedRun) -> bool:
        """Whether the store holds the trial; what it holds a part of is taken away."""
        found = search(self.store, f"{self._own} AND {equals(f'tags.`{TRIAL}`', run.tags[TRIAL])}")
        if any(is_whole(child.info.status, PRUNED in child.data.tags) for child in found):
            return True
        for child in found:
            if self._may_delete(child):
                self.store.client.delete_run(child.info.run_id)
        return False

    def _may_delete(self, child: Run) -> bool:
        owner = child.data.tags.get(OWNER, "")
        return child.info.status != "RUNNING" or owner == self.owner or not self.alive(owner)
