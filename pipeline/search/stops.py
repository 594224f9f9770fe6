"""Where trials halt on their way, to be judged before more is spent on them.

The first replicate runs ahead: what is bad shows in one network, and at a third of the cost
of three. So the budget of successive halving (Li et al. 2020) is counted in epochs of all
replicates together: some epochs of the first, all of it, then the others.
"""

from dataclasses import dataclass
from itertools import pairwise

from pipeline.config import Config
from pipeline.errors import UsageError

__all__ = ["Stop", "check_stops", "stops_of"]


@dataclass(frozen=True)
class Stop:
    """A halt; the last of a trial is its end.

    Attributes:
        replicates: those that are trained since the halt before; none: the trial is judged by its verdict.
        epoch: up to which.
        step: under which Optuna keeps the objective there: epochs of all replicates
            together, or for Wilcoxon's test, which compares replicates, the replicate.
        name: for people.
    """

    replicates: tuple[int, ...]
    epoch: int
    step: int
    name: str


def stops_of(config: Config) -> tuple[Stop, ...]:
    """The stops of each trial of a study, in their order."""
    search, epochs = config.search, config.trainer.epochs
    judged = [Stop((), 0, 0, "its verdict")] if search.preflight == "prune" else []
    if search.pruner == "none":
        return (*judged, _whole(range(search.replicates), epochs))
    if search.pruner == "wilcoxon":
        return (*judged, *(Stop((i,), epochs, i, f"replicate {i + 1}") for i in range(search.replicates)))
    early = _growing(search.min_epochs, search.reduction, epochs)
    ahead = [Stop((0,), epoch, epoch, f"epoch {epoch} of one replicate") for epoch in early]
    counts = [0, *_growing(1, search.reduction, search.replicates), search.replicates]
    rounds = [_whole(range(done, count), epochs) for done, count in pairwise(counts)]
    return (*judged, *ahead, *rounds)


def check_stops(config: Config) -> None:
    """Raises ``UsageError`` where a pruner would never have a say."""
    search, epochs = config.search, config.trainer.epochs
    if search.pruner != "none" and len([stop for stop in stops_of(config) if stop.replicates]) == 1:
        more = "search.replicates" if search.pruner == "wilcoxon" else f"search.replicates, or trainer.epochs={epochs}"
        raise UsageError.of("search.pruner", search.pruner, f"never judges a trial before its end here: raise {more}")


def _whole(replicates: range, epochs: int) -> Stop:
    return Stop(tuple(replicates), epochs, epochs * replicates.stop, f"replicate {replicates.stop}")


def _growing(first: int, factor: int, end: int) -> list[int]:
    """first, first * factor, ... below ``end``."""
    found: list[int] = []
    while first < end:
        found.append(first)
        first *= factor
    return found
