"""Tracking: the one place that knows MLflow. Other modules import what stands here."""

import os
from typing import TYPE_CHECKING

from pipeline.lazy import lazily
from pipeline.tracking.place import check_store, store_uri, ui_address
from pipeline.tracking.trial import TrialRun
from pipeline.tracking.writer import Writer

# Read by MLflow as it is imported or as a client starts.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

if TYPE_CHECKING:
    from pipeline.tracking.confirmation import Confirmation
    from pipeline.tracking.entities import EXEMPLARS, NETWORK
    from pipeline.tracking.history import StudyRuns, read_study
    from pipeline.tracking.model import register_winner
    from pipeline.tracking.runs import StudyTracker, track_single
    from pipeline.tracking.server import is_loopback, ui_server
    from pipeline.tracking.store import Store, open_store
    from pipeline.tracking.subject import Subject, address_of, find_subject
    from pipeline.tracking.views import newest_views

__all__ = [
    "EXEMPLARS",
    "NETWORK",
    "Confirmation",
    "Store",
    "StudyRuns",
    "StudyTracker",
    "Subject",
    "TrialRun",
    "Writer",
    "address_of",
    "check_store",
    "find_subject",
    "is_loopback",
    "newest_views",
    "open_store",
    "read_study",
    "register_winner",
    "store_uri",
    "track_single",
    "ui_address",
    "ui_server",
]

# MLflow takes seconds to import, in which networks can train.
__getattr__ = lazily(
    __name__,
    {
        "EXEMPLARS": "entities",
        "NETWORK": "entities",
        "Confirmation": "confirmation",
        "Store": "store",
        "StudyRuns": "history",
        "StudyTracker": "runs",
        "Subject": "subject",
        "address_of": "subject",
        "find_subject": "subject",
        "is_loopback": "server",
        "newest_views": "views",
        "open_store": "store",
        "read_study": "history",
        "register_winner": "model",
        "track_single": "runs",
        "ui_server": "server",
    },
)
