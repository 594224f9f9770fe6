"""Reports: what a study found, for people who look before they read."""

from typing import TYPE_CHECKING

from pipeline.lazy import lazily

if TYPE_CHECKING:
    from pipeline.report.answers import check_folder, write_answers
    from pipeline.report.build import build_report, report_path
    from pipeline.report.compare import differences, write_comparison
    from pipeline.report.story import tell
    from pipeline.report.summary import Row, Summary, summarise
    from pipeline.report.trials import Ending

__all__ = [
    "Ending",
    "Row",
    "Summary",
    "build_report",
    "check_folder",
    "differences",
    "report_path",
    "summarise",
    "tell",
    "write_answers",
    "write_comparison",
]

# What draws takes a second to import, in which networks can train.
__getattr__ = lazily(
    __name__,
    {
        "differences": "compare",
        "write_comparison": "compare",
        "Ending": "trials",
        "Row": "summary",
        "Summary": "summary",
        "build_report": "build",
        "check_folder": "answers",
        "report_path": "build",
        "summarise": "summary",
        "tell": "story",
        "write_answers": "answers",
    },
)
