"""Tracking: the one place that knows MLflow. Other modules import what stands here."""

import os
from typing import TYPE_CHECKING

from pipeline.lazy import lazily
from pipeline.tracking.outage import Outage, asking_again, briefly
from pipeline.tracking.place import check_store, check_there, store_uri, ui_address
from pipeline.tracking.spool import Spool, spool_dir
from pipeline.tracking.trial import TrialRun
from pipeline.tracking.writer import Writer

# Read by MLflow as it is imported or as a client starts.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# A server that takes a request and doesn't answer is given up after so many seconds, not after two minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
# A request of which only the answer was lost must not be sent again unseen: it would make a second run.
# ``Writer`` and ``Outage`` look what is there, and wait longer than MLflow would.
os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
os.environ.setdefault("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "1")

if TYPE_CHECKING:
    from pipeline.tracking.confirmation import Confirmation
    from pipeline.tracking.entities import EXEMPLARS, NETWORK
    from pipeline.tracking.finished import FinishedRun
    from pipeline.tracking.history import StudyRuns, read_study
    from pipeline.tracking.model import register_winner
    from pipeline.tracking.repair import Disagreement, Mended, Outcome, compare, mend
    from pipeline.tracking.runs import StudyTracker
    from pipeline.tracking.server import is_loopback, ui_server
    from pipeline.tracking.single import track_single
    from pipeline.tracking.store import Store, open_store
    from pipeline.tracking.subject import Subject, address_of, find_subject
    from pipeline.tracking.views import newest_views

__all__ = [
    "EXEMPLARS",
    "NETWORK",
    "Confirmation",
    "Disagreement",
    "FinishedRun",
    "Mended",
    "Outage",
    "Outcome",
    "Spool",
    "Store",
    "StudyRuns",
    "StudyTracker",
    "Subject",
    "TrialRun",
    "Writer",
    "address_of",
    "asking_again",
    "briefly",
    "check_store",
    "check_there",
    "compare",
    "find_subject",
    "is_loopback",
    "mend",
    "newest_views",
    "open_store",
    "read_study",
    "register_winner",
    "spool_dir",
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
        "Disagreement": "repair",
        "FinishedRun": "finished",
        "Mended": "repair",
        "Outcome": "repair",
        "Store": "store",
        "StudyRuns": "history",
        "StudyTracker": "runs",
        "Subject": "subject",
        "address_of": "subject",
        "compare": "repair",
        "find_subject": "subject",
        "is_loopback": "server",
        "mend": "repair",
        "newest_views": "views",
        "open_store": "store",
        "read_study": "history",
        "register_winner": "model",
        "track_single": "single",
        "ui_server": "server",
    },
)
