"""``initlab diagnose``: the verdict on one network and its data, before training."""

import json
from collections.abc import Sequence
from dataclasses import asdict

from pipeline.config import Config
from pipeline.console import say, table
from pipeline.loading import load_dataset
from pipeline.names import run_title
from pipeline.runner import Job, check, look_ahead
from pipeline.verdict import Signs

__all__ = ["diagnose"]


def diagnose(config: Config, flags: Sequence[str] = ()) -> int:
    """Prints score, sentence and the signs they rest on; with ``--json`` as one object."""
    data = load_dataset(config)
    check(config, data)
    ((signs, verdict),) = look_ahead([Job(config, config.seed)])
    if "--json" in flags:
        say(json.dumps({**asdict(verdict), "signs": asdict(signs)}))
        return 0
    say(
        f"{run_title(config)}, seed {config.seed}, on {data.name}",
        f"{verdict.sentence} (score {verdict.score:.2f}{', hopeless' if verdict.hopeless else ''})",
        "",
    )
    say(*_layers(signs), f"flat: {signs.flat:.1%} of units and samples")
    say(f"the gradient of the loss reaches the weights of {signs.reached} of {len(signs.strengths)} layers")
    return 0


def _layers(signs: Signs) -> list[str]:
    """A table of the weighted layers."""
    head = ["layer", "typical singular value", "label gradient", "mean slope"]
    head += ["distinct for ever" if signs.chain else "distinct for ever, at most"]
    rows = [
        [
            str(i + 1),
            f"{signs.strengths[i]:.3g}",
            f"{signs.label_gradients[i]:.3g}",
            f"{signs.slopes[i]:.3g}" if i < signs.depth else "",
            str(signs.widths[i]) if signs.sequential and i < signs.depth else "",
        ]
        for i in range(len(signs.strengths))
    ]
    return [*table(head, rows), ""] if rows else []
