"""The trials of a study as MLflow holds them, in one table.

MLflow's client makes an object of every value: 43 s for 10,000 trials. From a database the
values are read as columns.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd
from mlflow.entities import Run
from mlflow.store.tracking.dbmodels import models
from sqlalchemy import Connection, Select, select

from pipeline.tracking.database import engine_of, is_database
from pipeline.tracking.store import Store

__all__ = ["PARENT", "children_of", "equals", "search"]

PARENT = "mlflow.parentRunId"
PAGE = 1000
# column of the table -> column of the database, attribute of the client's runs
INFO = {
    "run_id": ("run_uuid", "run_id"),
    "title": ("name", "run_name"),
    "status": ("status", "status"),
    "started": ("start_time", "start_time"),
    "artifacts": ("artifact_uri", "artifact_uri"),
}
PARTS: dict[str, Any] = {"params": models.SqlParam, "metrics": models.SqlLatestMetric, "tags": models.SqlTag}


def children_of(
    store: Store, parent: str, parts: Sequence[str] = ("params", "metrics", "tags"), only: Sequence[str] | None = None
) -> pd.DataFrame:
    """One row a child run, the earliest first, of those that aren't deleted.

    Columns ``run_id title status started artifacts`` (where these lie) and, of the ``parts`` asked for, every param as
    ``params.KEY``, every metric's last value as ``metrics.KEY`` and every tag as
    ``tags.KEY``; NaN where a run has none.

    Args:
        only: the keys that are wanted; None: all.
    """
    found = _rows(store, parent, parts, only) if is_database(store.uri) else _runs(store, parent, parts)
    return found.sort_values(["started", "run_id"], ignore_index=True)


def equals(key: str, text: str) -> str:
    """A condition of MLflow's search language that holds where ``key`` is ``text``.

    The language has no way to write a quote in a string, so that with one in the text the
    condition holds for any character in its place: look at what is found.
    """
    return f"{key} LIKE '{text.replace(chr(39), '_')}'" if "'" in text else f"{key} = '{text}'"


def search(store: Store, condition: str) -> list[Run]:
    """All runs for which a condition in MLflow's search language holds."""
    runs: list[Run] = []
    token = None
    while True:
        page = store.client.search_runs([store.experiment], condition, max_results=PAGE, page_token=token)
        runs += page
        token = page.token
        if not token:
            return runs


def _runs(store: Store, parent: str, parts: Sequence[str]) -> pd.DataFrame:
    rows = [_row(run, parts) for run in search(store, equals(f"tags.`{PARENT}`", parent))]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=list(INFO))


def _row(run: Run, parts: Sequence[str]) -> dict[str, object]:
    row = {name: getattr(run.info, attribute) for name, (_, attribute) in INFO.items()}
    return row | {f"{part}.{key}": value for part in parts for key, value in getattr(run.data, part).items()}


def _rows(store: Store, parent: str, parts: Sequence[str], only: Sequence[str] | None = None) -> pd.DataFrame:
    run, tag = models.SqlRun, models.SqlTag
    ours: Select[tuple[str]] = select(tag.run_uuid).where(tag.key == PARENT, tag.value == parent)
    columns = [getattr(run, column).label(name) for name, (column, _) in INFO.items()]
    with engine_of(store.uri).connect() as connection:
        wanted = select(*columns).where(run.run_uuid.in_(ours), run.lifecycle_stage == "active")
        info = pd.read_sql_query(wanted, connection).set_index("run_id")
        return info.join([_part(connection, part, ours, only) for part in parts]).reset_index()


def _part(connection: Connection, part: str, ours: Select[tuple[str]], only: Sequence[str] | None) -> pd.DataFrame:
    """The params, metrics or tags of the runs: a column a key."""
    table = PARTS[part]
    wanted = select(table.run_uuid, table.key, table.value).where(table.run_uuid.in_(ours))
    if only is not None:
        wanted = wanted.where(table.key.in_(only))
    long = pd.read_sql_query(wanted, connection)
    return long.pivot(index="run_uuid", columns="key", values="value").add_prefix(f"{part}.")
