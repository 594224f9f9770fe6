"""Reports: what a study found, for people who look before they read."""

from pipeline.report.answers import check_folder, write_answers
from pipeline.report.build import build_report, report_path
from pipeline.report.summary import Row, Summary, summarise

__all__ = ["Row", "Summary", "build_report", "check_folder", "report_path", "summarise", "write_answers"]
