"""The stored replicates of a question's study, one row a network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pipeline.activations import ACTIVATIONS
from pipeline.answers.claims import ACCURACY, BROKEN, LEARNS, Claim, Question
from pipeline.answers.verdict import Cell
from pipeline.statistics import Comparison, Spread, compare, spread
from pipeline.tracking import StudyRuns

__all__ = ["Measured"]

NETWORK = ["arm", "activation", "depth", "seed"]


@dataclass(frozen=True)
class Measured:
    """What the networks of a study reached.

    Attributes:
        networks: columns ``arm activation depth seed`` and one for each metric; metrics
            before the first step are called ``init/...``.
        arms: in the order in which the configuration names them.
        chance: test accuracy of always guessing the commonest class.
    """

    networks: pd.DataFrame
    arms: list[str]
    chance: float

    @classmethod
    def of(cls, question: Question, runs: StudyRuns) -> Measured:
        """Reads the study's replicates."""
        trials = pd.DataFrame(
            {
                "trial": runs.trials["trial"],
                "arm": runs.trials[f"params.{question.arms}"],
                "activation": runs.trials.get("params.model.activation", ""),
                "depth": pd.to_numeric(runs.trials.get("params.model.depth", "0")),
            }
        )
        long = runs.replicate_values().merge(trials, on="trial")
        wide = long.pivot_table(index=NETWORK, columns="metric", values="value", dropna=False, observed=True)
        networks = wide.dropna(how="all").reset_index()
        networks[ACCURACY] = networks[ACCURACY].fillna(0.0)
        networks[BROKEN] = (networks["symmetry/broken_step"] >= 0).astype(float)
        found = set(networks["arm"])
        arms = [arm for arm in _named_arms(runs.config["search"]["space"][question.arms]) if arm in found]
        return cls(networks, arms, float(runs.parent.data.params["dataset.chance"]))

    @cached_property
    def cells(self) -> list[Cell]:
        """The cells, by activation and then depth."""
        found = self.networks[["activation", "depth"]].drop_duplicates()
        rows = zip(found["activation"], found["depth"], strict=True)
        place = {name: i for i, name in enumerate(ACTIVATIONS)}
        return sorted(((str(a), int(d)) for a, d in rows), key=lambda cell: (place.get(cell[0], len(place)), cell[1]))

    def values(self, cell: Cell, arm: str, metric: str) -> pd.Series[float]:
        """One metric of one arm in one cell, by seed; what isn't finite is left out."""
        n = self.networks
        rows = n[(n["arm"] == arm) & (n["activation"] == cell[0]) & (n["depth"] == cell[1])]
        if metric not in rows:
            return pd.Series(dtype=float)
        series = rows.set_index("seed")[metric].astype(float)
        return series[np.isfinite(series)]

    def spread(self, cell: Cell, arm: str, metric: str) -> Spread:
        """The same, over seeds."""
        return spread(self.values(cell, arm, metric).to_numpy())

    def has(self, claim: Claim) -> bool:
        """Whether the study has the arms of a claim."""
        return {claim.a, *([claim.b] if claim.b is not None else [])} <= set(self.arms)

    def idle(self, cell: Cell, claim: Claim) -> bool:
        """Whether a claim on the accuracy of two arms meets a cell in which neither learns."""
        if claim.metric != ACCURACY or claim.b is None:
            return False
        means = [self.spread(cell, arm, ACCURACY).mean for arm in (claim.a, claim.b)]
        return all(mean < self.chance + LEARNS for mean in means)

    def compare(self, cell: Cell, claim: Claim) -> Comparison:
        """The claim's two sides in one cell, on the seeds that both have."""
        a = self.values(cell, claim.a, claim.metric)
        b = self.values(cell, claim.b, claim.b_metric or claim.metric) if claim.b is not None else a * 0 + self.chance
        a, b = a.align(b, join="inner")
        return compare(a.to_numpy(), b.to_numpy(), claim.bounds)


def _named_arms(axis: Mapping[str, Any]) -> list[str]:
    """The values of a stored axis, as params hold them."""
    return [str(arm) for arm in axis.get("arms") or axis["choices"]]
