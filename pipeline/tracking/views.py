"""What the MLflow UI shows first: a view of a study with the columns that matter, and the page on its run.

The UI keeps a shared view as a tag of the experiment, ``mlflow.sharedViewState.KEY``, whose
value is its state as JSON, and opens it at ``?viewStateShareKey=KEY``.
"""

import json
from collections.abc import Sequence

from pipeline.names import slug
from pipeline.tracking.reading import equals
from pipeline.tracking.store import Store

__all__ = ["share_view"]

METRICS = (
    "search/objective",
    "val/accuracy",
    "test/accuracy",
    "spread/val/accuracy",
    "redundancy/effective_width",
    "saturation/flat_fraction",
    "verdict/score",
)


def share_view(store: Store, study: str, axes: Sequence[str], minimize: bool) -> None:
    """Keeps the view of a study: its trials from the best down, with its axes and the headline metrics."""
    columns = [*(f"metrics.`{key}`" for key in METRICS), *(f"params.`{key}`" for key in axes)]
    state = {
        "searchFilter": equals("tags.`initlab.study`", study),
        "orderByKey": "metrics.`search/objective`",
        "orderByAsc": minimize,
        "selectedColumns": columns,
        "columnOrder": columns,
    }
    store.client.set_experiment_tag(store.experiment, f"mlflow.sharedViewState.{slug(study)}", json.dumps(state))
