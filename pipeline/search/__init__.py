"""The search: the one place that knows Optuna."""

from pipeline.search.check import check_search
from pipeline.search.importance import FEWEST_FOR_IMPORTANCE, importances
from pipeline.search.sampler import grid_size
from pipeline.search.space import Axis, axes_of, ends_of, inert_axes
from pipeline.search.status import StudyStatus, ended_trials, living, put_back_lost, studies, trial_counter
from pipeline.search.stops import Stop, stops_of
from pipeline.search.storage import study_name
from pipeline.search.study import Asked, FinishedTrial, Search, planned

__all__ = [
    "FEWEST_FOR_IMPORTANCE",
    "Asked",
    "Axis",
    "FinishedTrial",
    "Search",
    "Stop",
    "StudyStatus",
    "axes_of",
    "check_search",
    "ended_trials",
    "ends_of",
    "grid_size",
    "importances",
    "inert_axes",
    "living",
    "planned",
    "put_back_lost",
    "stops_of",
    "studies",
    "study_name",
    "trial_counter",
]
