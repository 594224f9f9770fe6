"""What a report says of all trials: the Pareto front, and how each ended."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd

__all__ = ["Ending", "Front", "endings_of", "front_of"]

AIMS = {"accuracy": "metrics.val/accuracy", "width": "metrics.redundancy/effective_width"}
FLAT = "metrics.saturation/flat_fraction"
LISTED = 10


@dataclass(frozen=True)
class Front:
    """Accuracy, redundancy and saturation at the end of training.

    Attributes:
        trials: ``trial run_id title accuracy width flat front``; ``front`` where no trial is
            better in one of the three (accuracy and effective width high, flat fraction low)
            and as good in the others.
    """

    trials: pd.DataFrame

    @property
    def best(self) -> pd.DataFrame:
        """The front itself, from the most accurate down."""
        return self.trials[self.trials["front"]].sort_values(["accuracy", "trial"], ascending=[False, True])


def front_of(trials: pd.DataFrame, drawn: pd.DataFrame) -> Front | None:
    """The front over all trials, with those of ``drawn`` beside it; None if a measurement is missing.

    Args:
        trials, drawn: rows with ``trial run_id title`` and ``metrics.KEY``.
    """
    if not {*AIMS.values(), FLAT} <= set(trials):
        return None
    found = trials[["trial", "run_id", "title"]].assign(
        **{name: trials[column].astype(float) for name, column in AIMS.items()}, flat=trials[FLAT].astype(float)
    )
    found = found.dropna()
    if found.empty:
        return None
    found["front"] = _undominated(found[["accuracy", "width"]].assign(flat=-found["flat"]).to_numpy())
    return Front(found[found["front"] | found["trial"].isin(drawn["trial"])])


def _undominated(values: np.ndarray) -> np.ndarray:
    """Which rows no other row is at least as good as in every column, and better in one."""
    order = np.lexsort(-values.T[::-1])  # the first column decides, so none is dominated by a later one
    kept: list[np.ndarray] = []
    found = np.zeros(len(values), dtype=bool)
    for i in order:
        own = values[i]
        if kept:
            others = np.asarray(kept)
            if ((others >= own).all(1) & (others > own).any(1)).any():
                continue
        kept.append(own)
        found[i] = True
    return found


@dataclass(frozen=True)
class Ending:
    """A way in which trials ended: how many, why, and some of them: ``(trial, run id)``."""

    kind: str
    reason: str
    count: int
    some: list[tuple[int, str]]

    @property
    def trials(self) -> str:
        """Their numbers, as people read them."""
        return ", ".join(str(number) for number, _ in self.some) + (", ..." if self.count > len(self.some) else "")


def endings_of(states: pd.DataFrame, diverged: "pd.Series[float]", unmeasured: "pd.Series[float]") -> list[Ending]:
    """Failed, diverged, pruned and incompletely measured trials by reason, the most frequent first.

    Args:
        states: rows ``run_id trial state reason`` of all trials, the state ``finished pruned failed
            running`` or ``killed``.
        diverged, unmeasured: how many replicates of each finished trial did, or had probes fail on them, by trial.
    """
    ended = zip(states["state"].tolist(), states["reason"].tolist(), states["trial"].tolist(), strict=True)
    rows = [(str(state), _general(str(reason)), int(trial)) for state, reason, trial in ended if state != "finished"]
    for kind, counts_of, what in (("diverged", diverged, ""), ("not measured", unmeasured, ": a probe failed")):
        many = zip(counts_of.index.tolist(), counts_of.tolist(), strict=True)
        rows += [(kind, f"{int(count)} of its replicates{what}", int(trial)) for trial, count in many if count > 0]
    counts = Counter((kind, reason) for kind, reason, _ in rows)
    runs = dict(zip(states["trial"].tolist(), states["run_id"].tolist(), strict=True))
    found = []
    for (kind, reason), count in counts.most_common():
        numbers = sorted(n for k, r, n in rows if (k, r) == (kind, reason))
        found.append(Ending(kind, reason, count, [(n, str(runs[n])) for n in numbers[:LISTED]]))
    return found


def _general(reason: str) -> str:
    """A reason without its numbers."""
    return re.sub(r"(?<=[ =])\d[\d.e+-]*", "..", reason)
