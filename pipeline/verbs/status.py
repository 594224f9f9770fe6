"""``initlab status``: the studies there are, with their trials by state."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from pipeline.agreement import disagreement
from pipeline.config import Config
from pipeline.console import say, table
from pipeline.search import studies

__all__ = ["status"]


def status(config: Config, flags: Sequence[str] = ()) -> int:
    """Prints a table, or with ``--json`` one object a study."""
    found = studies(config)
    if config.study.name is not None:
        found = [study for study in found if study.name == config.study.name]
    if "--json" in flags:
        say(json.dumps([asdict(s) | {"disagreement": disagreement(config, s.name)} for s in found], indent=2))
        return 0
    if not found:
        say("no studies yet: `make sweep` begins one")
        return 0
    head = ["study", "complete", "running", "failed", "pruned", "waiting", "best", "store"]
    states = ("COMPLETE", "RUNNING", "FAIL", "PRUNED", "WAITING")
    rows = [[s.name, *[str(s.trials[state]) for state in states], _best(s.best_value), s.store] for s in found]
    say(*table(head, rows))
    differ = {study.name: lines for study in found if (lines := disagreement(config, study.name))}
    for name, lines in differ.items():
        say(f"{name}:", *[f"  {line}" for line in lines])
    say("`initlab repair` mends what it can" if differ else "MLflow holds the same trials")
    return 0


def _best(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
