"""What the MLflow UI shows first: a view of a study with the columns and charts that matter.

The UI keeps a shared view as a tag of the experiment, ``mlflow.sharedViewState.KEY``, whose
value is its state as JSON, and opens it at ``?viewStateShareKey=KEY``. Charts that the state
doesn't name are added by the UI, each to the section of its metric's prefix.
"""

import json
from collections.abc import Sequence
from typing import Any

from pipeline.config import Config
from pipeline.names import slug
from pipeline.tracking.place import ui_address
from pipeline.tracking.reading import equals
from pipeline.tracking.store import Store, open_store

__all__ = ["newest_views", "share_view"]

METRICS = (
    "search/objective",
    "val/accuracy",
    "test/accuracy",
    "spread/val/accuracy",
    "redundancy/effective_width",
    "saturation/flat_fraction",
    "verdict/score",
)
SEARCHED = "What was searched"
# Sections of charts in the order in which they are told, and whether they are unfolded. But for the first, the
# UI fills them by the prefix of its metrics.
SECTIONS = {
    SEARCHED: True,
    "val": True,
    "train": True,
    "redundancy": True,
    "saturation": True,
    "signal": False,
    "symmetry": False,
    "test": False,
    "verdict": False,
    "init/redundancy": False,
    "init/saturation": False,
    "init/signal": False,
    "init/symmetry": False,
    "init/train": False,
    "init/val": False,
    "spread/val": False,
    "spread/test": False,
    "spread/redundancy": False,
    "spread/saturation": False,
    "best/val": False,
    "best": False,
    "search": False,
    "health": False,
}


def share_view(store: Store, study: str, axes: Sequence[str], minimize: bool) -> None:
    """Keeps the view of a study: its trials from the best down, with its axes and the headline metrics."""
    columns = [*(f"metrics.`{key}`" for key in METRICS), *(f"params.`{key}`" for key in axes)]
    state = {
        "searchFilter": f"{equals('tags.`initlab.study`', study)} AND tags.`initlab.kind` = 'trial'",
        "orderByKey": "metrics.`search/objective`",
        "orderByAsc": minimize,
        "selectedColumns": columns,
        "columnOrder": columns,
        "compareRunSections": [_section(name, shown) for name, shown in SECTIONS.items()],
        "compareRunCharts": _charts(axes),
        "isAccordionReordered": True,
    }
    store.client.set_experiment_tag(store.experiment, f"mlflow.sharedViewState.{slug(study)}", json.dumps(state))


def newest_views(config: Config, count: int) -> dict[str, str]:
    """The addresses of the views of the newest studies, by study."""
    store = open_store(config)
    tags = store.client.get_experiment(store.experiment).tags
    studies = store.client.search_runs([store.experiment], "tags.`initlab.kind` = 'study'", max_results=count)
    names = [str(run.data.tags["initlab.study"]) for run in studies]
    place = f"{ui_address(config)}/#/experiments/{store.experiment}/runs?viewStateShareKey="
    return {name: place + slug(name) for name in names if f"mlflow.sharedViewState.{slug(name)}" in tags}


def _section(name: str, shown: bool) -> dict[str, Any]:
    """``isReordered``: where it stands is meant; the UI would sort sections by name."""
    return {
        "uuid": name,
        "name": name,
        "display": shown,
        "columns": 2,
        "isReordered": True,
        "deleted": False,
        "isGenerated": False,
    }


def _charts(axes: Sequence[str]) -> list[dict[str, Any]]:
    """The trials over the axes: side by side, and each axis against accuracy."""
    metrics = ["val/accuracy", "redundancy/effective_width", "saturation/flat_fraction"]
    parallel: dict[str, Any] = {
        "type": "PARALLEL",
        "selectedParams": list(axes),
        "selectedMetrics": metrics,
        "showAllRuns": True,
    }
    scatters: list[dict[str, Any]] = [
        {
            "type": "SCATTER",
            "xaxis": {"key": key, "type": "PARAM"},
            "yaxis": {"key": "val/accuracy", "type": "METRIC"},
        }
        for key in axes
    ]
    return [
        {
            **chart,
            "uuid": f"initlab-{i}",
            "metricSectionId": SEARCHED,
            "runsCountToCompare": 10,
            "deleted": False,
            "isGenerated": False,
        }
        for i, chart in enumerate([parallel, *scatters])
    ]
