"""``initlab compare``: two or more studies or runs side by side."""

from collections.abc import Sequence

from pipeline.config import Config
from pipeline.console import say, table
from pipeline.errors import UsageError
from pipeline.report import differences, write_comparison
from pipeline.tracking import find_subject

__all__ = ["compare"]

MOST = 26


def compare(config: Config, flags: Sequence[str] = (), names: Sequence[str] = ()) -> int:
    """Compares what the names or run ids stand for, the first with each other one."""
    if not 2 <= len(names) <= MOST:
        raise UsageError(f"compare: give two to {MOST} names of studies or ids of runs, got {len(names)}")
    sides = [find_subject(config, name) for name in names]
    paths = write_comparison(config, sides, names)
    rows = [
        [f"{d.metric}, {sides[d.side].name}", f"{d.mean:+.4f}", f"{d.low:+.4f} to {d.high:+.4f}", f"{d.p:.3g}"]
        for d in differences(sides)
        if d.metric in ("test/accuracy", "redundancy/effective_width", "saturation/flat_fraction")
    ]
    say(*table([f"difference to {sides[0].name}", "mean", "95 % interval", "p (Holm)"], rows), "")
    say("side by side:", *map(str, paths))
    return 0
