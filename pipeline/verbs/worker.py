"""``initlab worker``: trains trials of a study that others may be at work on too."""

from collections.abc import Sequence

from pipeline.config import Config
from pipeline.console import say
from pipeline.loading import load_dataset
from pipeline.shift import on_shift

__all__ = ["worker"]


def worker(config: Config, flags: Sequence[str] = (), overrides: Sequence[str] = ()) -> int:
    """Takes trials until the study has them all; leaves winner and report to ``initlab sweep``."""
    with on_shift(config, load_dataset(config), "worker", overrides) as shift:
        shift.run()
        name, total = shift.search.name, shift.search.total
    say(f"study {name}: all {total} trials are there; `initlab sweep` with the same keys concludes it")
    return 0
