"""``initlab open``: the address of a study or a run in the MLflow UI."""

import webbrowser
from collections.abc import Sequence

from pipeline.config import Config
from pipeline.console import say
from pipeline.errors import UsageError
from pipeline.tracking import address_of

__all__ = ["open"]


def open(config: Config, flags: Sequence[str] = (), names: Sequence[str] = ()) -> int:
    """Prints the address; with ``--browser`` opens it as well."""
    if len(names) != 1:
        raise UsageError(f"open: give the name of one study or the id of one run, got {len(names)}")
    address = address_of(config, names[0])
    say(address)
    if "--browser" in flags:
        webbrowser.open(address)
    return 0
