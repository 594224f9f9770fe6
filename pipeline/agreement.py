"""Whether a study's two books agree: what the search holds of its trials, and what MLflow holds."""

from __future__ import annotations

from collections.abc import Callable

from pipeline import tracking
from pipeline.config import Config
from pipeline.errors import InitlabError
from pipeline.search import ended_trials, living

__all__ = ["disagreement", "outcomes"]


def outcomes(config: Config, study: str) -> Callable[[], dict[int, tracking.Outcome]]:
    """A function that tells what the search holds of the trials that have ended, by number."""
    ended = ended_trials(config, study)
    return lambda: {number: tracking.Outcome(*of) for number, of in ended().items()}


def disagreement(config: Config, study: str) -> list[str]:
    """Where the two differ, a line a kind; nothing where they agree."""
    try:
        tracking.check_there(config)
        return tracking.compare(config, study, outcomes(config, study), living(config, study)).sentences()
    except InitlabError as error:
        return [f"can't be compared with MLflow: {error}"]
