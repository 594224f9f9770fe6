"""``initlab train``: one training, one run."""

import time
from collections.abc import Sequence

from pipeline.config import Config
from pipeline.console import Failures, note, progress, say, say_notes, table
from pipeline.interrupt import check as check_signals
from pipeline.interrupt import deferred
from pipeline.loading import load_dataset
from pipeline.names import run_title
from pipeline.pool import run_jobs
from pipeline.records import TrialRecord
from pipeline.runner import Job, check, verdicts
from pipeline.tracking import Outage, check_store, track_single

__all__ = ["train"]


def train(config: Config, flags: Sequence[str] = ()) -> int:
    """Trains one network, under ``seed`` itself, and prints its metrics before and after."""
    data = load_dataset(config)
    check(config, data)
    check_store(config)
    started = time.time()
    job = Job(config, config.seed)
    say(f"{run_title(config)}, seed {config.seed}, on {data.name}")
    (verdict,) = verdicts([job])
    say(f"before training: {verdict.sentence} (score {verdict.score:.2f})")
    with deferred(), progress(1, 0, "networks") as bar:

        def on_progress(done: float) -> None:
            check_signals()
            bar.update(done)

        (record,) = run_jobs([job], on_progress)
        run_id = track_single(config, data, record, verdict, started, Outage(config, note))
    say_notes()
    rows = [[name, _number(record.init.get(name)), _number(value)] for name, value in record.final.items()]
    say("", *table(["metric", "before", "after"], rows), "")
    Failures(say).tell(TrialRecord([record]))
    if record.diverged_step is not None:
        say(f"diverged: the loss was not finite at step {record.diverged_step}")
    say(f"run {run_id}", "browse it: make ui")
    return 0


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"
