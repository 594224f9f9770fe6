"""``initlab report``: the report of a stored study, made again."""

from collections.abc import Sequence

from pipeline.config import Config
from pipeline.console import say
from pipeline.report import build_report, tell
from pipeline.search import study_name
from pipeline.tracking import read_study

__all__ = ["report"]


def report(config: Config, flags: Sequence[str] = ()) -> int:
    """Builds the page from what MLflow holds."""
    story = tell(read_study(config, study_name(config)), config.report.top)
    say(str(build_report(config, story).page))
    return 0
