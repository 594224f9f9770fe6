"""What people read on a terminal: tables, notes, progress."""

from __future__ import annotations

import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from pipeline.notes import notes

if TYPE_CHECKING:  # the report takes a second to import, which `initlab theory` need not wait for
    from pipeline.records import TrialRecord
    from pipeline.report import Row, Summary

__all__ = ["Failures", "Progress", "note", "progress", "say", "say_notes", "study_table", "table"]


def say(*lines: str) -> None:
    """Prints lines at once, so that they don't overtake what comes from elsewhere."""
    try:
        print(*lines, sep="\n", flush=True)
    except BrokenPipeError:
        # Whoever read the output has gone (`initlab sweep | head`); the work goes on.
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115


def note(line: str) -> None:
    """Prints a line from any thread, above the bar where there is one."""
    with suppress(BrokenPipeError):
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()


def say_notes(speak: Callable[[str], None] = say) -> None:
    """What the engine found worth a line, once."""
    while notes:
        speak(f"note: {notes.pop(0)}")


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    cells = [list(head), *[list(row) for row in rows]]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    return [
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in cells
    ]


def study_table(summary: Summary) -> list[str]:
    """The best trials, the worst, and what the weak ones have in common."""
    head = ["init", "val accuracy", "std", "effective width", "flat fraction", "trial"]
    best = [_cells(row) for row in summary.best]
    worst = [_cells(summary.worst)] if summary.count > len(summary.best) else []
    lines = table(head, [*best, *worst])
    if worst:
        lines.insert(len(lines) - 1, f"... and the worst of {summary.count}:")
    if summary.weak:
        lines += ["", f"{summary.weak} of {summary.count} stay below 90 % of the best accuracy; of these,"]
        lines += [f"  {count} {symptom}" for symptom, count in summary.symptoms.items()]
    return lines


def _cells(row: Row) -> list[str]:
    numbers = [row.val_accuracy, row.spread, row.effective_width, row.flat_fraction]
    title = row.title + (f" ({row.diverged} diverged)" if row.diverged else "")
    return [title, *["-" if math.isnan(n) else f"{n:.3f}" for n in numbers], str(row.trial)]


class Failures:
    """Tells of probes that failed: of each once, however many networks it fails on."""

    def __init__(self, speak: Callable[[str], None]) -> None:
        self._speak, self._told = speak, set[str]()

    def tell(self, record: TrialRecord) -> None:
        """Of those that failed on a network of the trial."""
        for name, error in record.failed.items():
            if name not in self._told:
                self._told.add(name)
                self._speak(f"note: probe {name} failed: {error}; its value is missing there, all else goes on")


class Progress:
    """A bar of trials done, the best so far and the time left."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def update(self, done: float) -> None:
        """done: trials, in fractions."""
        self._bar.update(max(0.0, done - self._bar.n))

    def say(self, line: str) -> None:
        """Prints a line above the bar, or where there is none."""
        note(line)

    def best(self, text: str) -> None:
        """Shown behind the bar."""
        self._bar.set_postfix_str(text, refresh=False)


@contextmanager
def progress(total: float, done: float, unit: str) -> Iterator[Progress]:
    """A progress bar on stderr, where that is a terminal."""
    tqdm.monitor_interval = 0  # its thread would stay, and a process with threads can't be forked
    form = "{desc}{percentage:3.0f}%|{bar}| {n:.0f}/{total:.0f} {unit} [{elapsed}<{remaining}{postfix}]"
    with tqdm(
        total=total,
        initial=done,
        unit=unit,
        bar_format=form,
        disable=None if sys.stderr.isatty() else True,
        leave=False,
        # Some terminals say they have no width; tqdm would then draw nothing.
        ncols=shutil.get_terminal_size().columns,
    ) as bar:
        yield Progress(bar)
