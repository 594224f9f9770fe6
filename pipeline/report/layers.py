"""Redundancy and saturation of each layer on the way, as maps of layers by steps."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.tracking import NETWORK, StudyRuns

__all__ = ["LAYERED", "LayerMap", "layer_maps"]

# metric -> colour scale
LAYERED = {"redundancy/effective_width": "cividis", "saturation/flat_fraction": "inferno"}


@dataclass(frozen=True)
class LayerMap:
    """One metric of one trial.

    Attributes:
        values: means over replicates, ``(layers, steps)``, NaN where none is finite.
    """

    trial: str
    run_id: str
    metric: str
    colours: str
    layers: list[str]
    steps: list[int]
    values: np.ndarray


def layer_maps(runs: StudyRuns, chosen: Mapping[str, str]) -> list[LayerMap]:
    """The maps of some trials, ``{title: run id}``; without metrics that no layer has."""
    found = []
    for title, run_id in chosen.items():
        rows = runs.layer_values(run_id)
        for metric, colours in LAYERED.items():
            own = rows[(rows["metric"] == metric) & (rows["layer"] != NETWORK)]
            if own.empty:
                continue
            means = own.groupby(["layer", "step"], sort=False)["value"].mean().unstack("step")
            means = means.reindex(list(dict.fromkeys(own["layer"])))[sorted(means.columns)]
            steps = [int(step) for step in means.columns]
            found.append(LayerMap(title, run_id, metric, colours, list(means.index), steps, means.to_numpy(float)))
    return found
