"""All that a report tells of a study, computed from stored runs alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.answers import Answer, answer
from pipeline.exemplars import Exemplar, from_bytes
from pipeline.report.code import code_of
from pipeline.report.contest import Contest, contest_axis, hold_contest
from pipeline.report.exports import trials_table
from pipeline.report.layers import LayerMap, layer_maps
from pipeline.report.maps import Map, maps_of
from pipeline.report.region import Region, find_region
from pipeline.report.summary import Row, Summary, some_trials, summarise
from pipeline.report.trials import Ending, Front, endings_of, front_of
from pipeline.search import FEWEST_FOR_IMPORTANCE, importances
from pipeline.statistics import Spread, spread
from pipeline.tracking import EXEMPLARS, StudyRuns

__all__ = ["CURVES", "Story", "tell"]

CURVES = {"val/accuracy": "Validation accuracy", "train/loss": "Training loss (nats)"}


@dataclass(frozen=True)
class Story:
    """What there is to tell; what can't be told is empty or None, and ``missing`` says why.

    Attributes:
        confirmed: test accuracy of the winner over fresh seeds, if single networks are on record.
        code: ``{what it needs: lines}`` that apply the best init.
        drawn: trials that are drawn as points.
        chosen: the best, the median and the worst trial, whose curves and layers are shown; of few trials fewer.
        curves: by metric and then by name, ``step mean low high``.
        missing: by section, why it is not there.
        table: what ``trials.csv`` holds.
    """

    runs: StudyRuns
    answer: Answer | None
    summary: Summary | None
    confirmed: Spread | None
    region: Region | None
    code: Mapping[str, str]
    drawn: int
    chosen: Mapping[str, Row]
    maps: Mapping[str, Map]
    contest: Contest | None
    curves: Mapping[str, Mapping[str, pd.DataFrame]]
    layers: list[LayerMap]
    exemplars: list[Exemplar]
    front: Front | None
    importance: Mapping[str, float]
    endings: list[Ending]
    missing: Mapping[str, str]
    table: pd.DataFrame

    @property
    def asked(self) -> int:
        """Trials that the study was asked for when it began."""
        return int(self.runs.config["search"]["n_trials"])


def tell(runs: StudyRuns, top: int) -> Story:
    """Computes the story of a study.

    Args:
        top: how many of the best trials to list.
    """
    found: dict[str, Any] = dict.fromkeys(("confirmed", "region", "contest", "front"))
    found |= {"code": {}, "maps": {}, "curves": {}, "layers": [], "importance": {}, "drawn": 0, "chosen": {}}
    missing: dict[str, str] = {}
    summary = summarise(runs, top)
    stored = runs.file(EXEMPLARS)
    exemplars = from_bytes(stored.read_bytes()) if stored is not None else []
    if summary is None:
        missing |= dict.fromkeys(("region", "maps", "contest", "curves", "layers", "front", "importance"), NOTHING)
    else:
        found |= _of_trials(runs, summary, missing)
    values = runs.confirmation_values()
    if values is not None:
        found["confirmed"] = spread(values[values["metric"] == "test/accuracy"]["value"].fillna(0.0).to_numpy())
    if not exemplars:
        missing["exemplars"] = (
            "no networks to look at are on record: report.exemplars was off, or the study did not come to its end"
        )
    return Story(
        runs=runs,
        answer=answer(runs),
        summary=summary,
        exemplars=exemplars,
        endings=endings_of(runs.states, *(_replicates(runs.trials, kind) for kind in ("diverged", "unmeasured"))),
        missing=missing,
        table=trials_table(runs, found["region"], found["front"], found["contest"], exemplars),
        **found,
    )


NOTHING = "no trial has been trained to its end yet"


def _of_trials(runs: StudyRuns, summary: Summary, missing: dict[str, str]) -> dict[str, Any]:
    trials, axes = runs.trials, runs.axes
    dots = some_trials(trials, runs.objective)
    maps, missing["theory"] = maps_of(trials, dots, axes, runs.config)
    if not maps:
        missing["maps"] = "no trial ended with finite values"
    front = front_of(trials, dots)
    if front is None:
        missing["front"] = "no trial has finite values of effective width and flat fraction"
    axis = contest_axis(trials, axes)
    contest = hold_contest(trials, axis, runs.objective, runs.replicate_values) if axis is not None else None
    if contest is None:
        missing["contest"] = "the study has one scheme only"
    importance = importances(trials, axes, runs.objective == "val/loss")
    if not importance:
        few = f"fewer than {FEWEST_FOR_IMPORTANCE} trials can't tell"
        missing["importance"] = few if len(trials) < FEWEST_FOR_IMPORTANCE else "a single axis was searched"
    chosen = _chosen(summary)
    titled = {f"{place}: {row.title}": row.run_id for place, row in chosen.items()}
    layers = layer_maps(runs, titled)
    if not layers:
        missing["layers"] = "none of these trials has values of effective width or flat fraction"
    return {
        "region": find_region(trials, axes, runs.objective, runs.replicates),
        "code": code_of(runs.config_of(summary.best[0].run_id)),
        "maps": maps,
        "contest": contest,
        "curves": {metric: {name: runs.curve(run, metric) for name, run in titled.items()} for metric in CURVES},
        "layers": layers,
        "front": front,
        "importance": importance,
        "drawn": len(dots),
        "chosen": chosen,
    }


def _chosen(summary: Summary) -> dict[str, Row]:
    """The best, the median and the worst trial; of few trials fewer."""
    rows = {"best": summary.best[0], "median": summary.median, "worst": summary.worst}
    chosen: dict[str, Row] = {}
    for place, row in rows.items():
        if row.run_id not in [other.run_id for other in chosen.values()]:
            chosen[place] = row
    return chosen


def _replicates(trials: pd.DataFrame, kind: str) -> "pd.Series[float]":
    """How many replicates of each trial are of a kind, by its number."""
    column = f"metrics.health/{kind}_replicates"
    if column not in trials:
        return pd.Series(dtype=float)
    return trials.set_index("trial")[column].astype(float)
