"""What the table's rows are and how each is measured."""

from benchmarks.group import Context, Group
from benchmarks.rows import report, search, speed, study

__all__ = ["GROUPS", "Context", "Group"]

GROUPS: tuple[Group, ...] = (*speed.GROUPS, *study.GROUPS, *search.GROUPS, *report.GROUPS, *speed.GPU_GROUPS)
"""All rows, in the table's order; those of a group are measured together."""
