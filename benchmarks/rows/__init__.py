"""What the table's rows are and how each is measured."""

from benchmarks.rows import search, speed, study
from benchmarks.rows.group import Context, Group

__all__ = ["GROUPS", "Context", "Group"]

GROUPS: tuple[Group, ...] = (*speed.GROUPS, *study.GROUPS, *search.GROUPS, *speed.GPU_GROUPS)
"""All rows, in the table's order; those of a group are measured together."""
