"""``initlab symmetry``: which neurons must stay copies, and what breaks the ties of the others."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict

from pipeline.clock import Clock, read_clock
from pipeline.config import Config
from pipeline.console import say, table
from pipeline.loading import load_dataset
from pipeline.names import run_title
from pipeline.runner import Job, check, member_of, plan_of

__all__ = ["symmetry"]


def symmetry(config: Config, flags: Sequence[str] = ()) -> int:
    """Settles the symmetry of the configured start, then trains it under every arm of the clock."""
    data = load_dataset(config)
    module = check(config, data)
    clock = read_clock(module, data, member_of(Job(config, config.seed)), plan_of(config))
    if "--json" in flags:
        say(json.dumps(_plain(clock), indent=2))
        return 0
    say(f"{run_title(config)}, seed {config.seed}, on {data.name}", "")
    say(*_layers(clock), "", f"predicted functional width: {clock.prediction.width:.3g}")
    say(f"layers that a gradient reaches in the first step, from the output: {clock.reached}", "")
    say(*_arms(clock), "", *clock.causes)
    return 0


def _layers(clock: Clock) -> list[str]:
    head = ["hidden layer", "neurons", "classes", "constant", "predicted width", "tied pairs", "to last"]
    head += ["told apart by rows", "by biases", "by columns"]
    found = clock.symmetry
    rows = [
        [str(i + 1), units, classes, constant, width, tie.parting + tie.lasting, tie.lasting, *broken.values()]
        for i, (units, classes, constant, width, tie, broken) in enumerate(
            zip(
                clock.prediction.units,
                found.widths,
                clock.prediction.constant,
                clock.prediction.widths,
                clock.ties,
                found.broken_by,
                strict=True,
            )
        )
    ]
    return table(head, [[str(cell) for cell in row] for row in rows])


def _arms(clock: Clock) -> list[str]:
    head = ["arm", "dtype", "rows a step", "steps", "first break", "of a lasting tie", "no tie left"]
    head += ["effective width", "functional width"]
    diverged = any(arm.diverged_step is not None for arm in clock.arms.values())
    head += ["diverged at step"] * diverged
    rows = [
        [
            arm.name,
            arm.dtype,
            *[str(n) for n in (arm.batch_size, arm.steps)],
            *["never" if n < 0 else str(n) for n in (arm.first_break, arm.lasting_break, arm.broken_step)],
            *[f"{width:.3f}" for width in (arm.effective_width, arm.functional_width)],
            *["never" if arm.diverged_step is None else str(arm.diverged_step)] * diverged,
        ]
        for arm in clock.arms.values()
    ]
    return table(head, rows)


def _plain(clock: Clock) -> dict[str, object]:
    return {
        "layers": [
            {
                "classes": classes.tolist(),
                "predicted_width": width,
                "constant": constant,
                **asdict(tie),
                "broken_by": by,
            }
            for classes, width, constant, tie, by in zip(
                clock.symmetry.classes,
                clock.prediction.widths,
                clock.prediction.constant,
                clock.ties,
                clock.symmetry.broken_by,
                strict=True,
            )
        ],
        "predicted_width": clock.prediction.width,
        "reached": clock.reached,
        "arms": [{key: _finite(value) for key, value in asdict(arm).items()} for arm in clock.arms.values()],
        "causes": clock.causes,
    }


def _finite(value: object) -> object:
    """JSON has no NaN: what a diverged network leaves is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
