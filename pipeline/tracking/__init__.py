"""Tracking: the one place that knows MLflow. Other modules import what stands here."""

import os

# Read by MLflow as it is imported or as a client starts.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from pipeline.tracking.confirmation import Confirmation
from pipeline.tracking.history import StudyRuns, read_study
from pipeline.tracking.model import register_winner
from pipeline.tracking.runs import StudyTracker, TrialRun, track_single
from pipeline.tracking.store import Store, check_store, open_store, ui_command
from pipeline.tracking.writer import Writer

__all__ = [
    "Confirmation",
    "Store",
    "StudyRuns",
    "StudyTracker",
    "TrialRun",
    "Writer",
    "check_store",
    "open_store",
    "read_study",
    "register_winner",
    "track_single",
    "ui_command",
]
