"""``initlab sweep``: search, track, confirm the winner, report."""

import time
from collections.abc import Sequence

from pipeline.config import Config
from pipeline.console import Progress, progress, say, study_table
from pipeline.data import Dataset
from pipeline.names import run_title, slug
from pipeline.records import MemberRecord, TrialRecord
from pipeline.report import build_report, summarise
from pipeline.runner import Job, check, load_dataset, network, run_jobs
from pipeline.search import Asked, Search, inert_axes
from pipeline.seeds import confirmation_seeds, replicate_seeds
from pipeline.tracking import Confirmation, StudyRuns, StudyTracker, Writer, check_store, read_study, register_winner

__all__ = ["sweep"]


def sweep(config: Config, flags: Sequence[str] = ()) -> int:
    """Runs a study to its asked-for number of trials, or says that it has them."""
    data = load_dataset(config)
    check(config, data)
    check_store(config)
    for key, scheme in inert_axes(config).items():
        say(f"{key} has no effect with {scheme}: left out of the search")
    search = Search(config)
    tracker = StudyTracker(config, search.name, [axis.key for axis in search.axes], data)
    finished = len(search.finished)
    if finished >= search.total:
        say(f"study {search.name}: all {search.total} trials are there already, nothing to train")
        tracker.begin()
        tracker.end("FINISHED")
    else:
        _announce(search, data, finished)
        _search(search, tracker)
    runs = _confirmed(search, tracker, data)
    return _conclude(config, runs, tracker)


def _announce(search: Search, data: Dataset, finished: int) -> None:
    config = search.config
    axes = " and ".join(axis.key for axis in search.axes)
    say(
        f"study {search.name}: {search.total} trials x {config.search.replicates} replicates over {axes}"
        + (f", {finished} done already" if finished else ""),
        f"{data.name}: {len(data.y_train)} training, {len(data.y_val)} validation, {len(data.y_test)} test rows",
    )


def _search(search: Search, tracker: StudyTracker) -> None:
    """Asks, trains and tells in batches; MLflow is written beside it."""
    try:
        with Writer() as writer, progress(search.total, len(search.finished), "trials") as bar:
            writer.submit(tracker.begin)
            while (done := len(search.finished)) < search.total:
                batch = search.ask(min(search.config.search.batch, search.total - done))
                _run_batch(search, tracker, writer, bar, batch, done)
    except BaseException as error:
        search.abandon()
        if tracker.parent:
            tracker.end("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    tracker.end("FINISHED")


def _run_batch(
    search: Search, tracker: StudyTracker, writer: Writer, bar: Progress, batch: list[Asked], done: int
) -> None:
    started = time.time()
    replicates = search.config.search.replicates
    jobs = [Job(asked.config, seed) for asked in batch for seed in replicate_seeds(asked.config.seed, replicates)]
    records = run_jobs(jobs, lambda members: bar.update(done + members / replicates))
    for i, asked in enumerate(batch):
        record = TrialRecord(records[i * replicates : (i + 1) * replicates])
        search.tell(asked.number, record)
        writer.submit(tracker.log_trial, asked.number, asked.config, asked.values, record, started)
    bar.best(f"best {search.best.value:.4f}")


def _confirmed(search: Search, tracker: StudyTracker, data: Dataset) -> StudyRuns:
    """The study's runs, with the winner confirmed on fresh seeds if it had not been."""
    runs = read_study(search.config, search.name)
    best, seeds = search.best, search.config.search.confirm
    known = runs.confirmation
    if known is not None and (known.trial, known.seeds) == (best.number, seeds):
        return runs
    config = search.config_of(best)
    say(f"confirming the winner, {run_title(config)}, on {seeds} fresh seeds")
    jobs = [Job(config, seed, keep_state=True) for seed in confirmation_seeds(config.seed, seeds)]
    record = TrialRecord(run_jobs(jobs))
    model = ""
    if config.tracking.register_winner:
        model = _register(config, runs, record.members, search.name, data)
    confirmation = Confirmation(
        trial=best.number,
        seeds=seeds,
        accuracy=record.mean("test/accuracy"),
        spread=record.spread("test/accuracy"),
        val_accuracy=record.mean("val/accuracy"),
        model=model,
    )
    tracker.log_confirmation(confirmation)
    return read_study(search.config, search.name)


def _register(config: Config, runs: StudyRuns, members: Sequence[MemberRecord], study: str, data: Dataset) -> str:
    """Registers the network of median validation accuracy: typical of the init, not the luckiest."""
    ranked = sorted(members, key=lambda m: m.final["val/accuracy"])
    typical = ranked[len(ranked) // 2]
    if typical.state is None or typical.diverged_step is not None:
        return ""
    run_id = runs.parent.info.run_id
    return register_winner(runs.store, run_id, f"initlab-{slug(study)}", network(config, data), typical.state, data)


def _conclude(config: Config, runs: StudyRuns, tracker: StudyTracker) -> int:
    summary = summarise(runs, config.report.top)
    report = build_report(config, runs)
    tracker.log_files(report.parent)
    if summary is not None:
        lines = study_table(summary)
        tracker.log_note("\n".join([f"Report: artifact `{report.name}`.", "", "```", *lines, "```"]))
        say("", *lines, "")
    if (found := runs.confirmation) is not None:
        say(f"winner on {found.seeds} fresh seeds: test accuracy {found.accuracy:.3f} +- {found.spread:.3f} (std)")
        if found.model:
            say(f"registered model: {found.model}")
    say("browse the runs: make ui", "the report:", str(report))
    return 0
