"""``initlab sweep``: search, track, confirm the winner, report."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from pipeline import report, tracking
from pipeline.config import Config
from pipeline.console import note, progress, say, study_table
from pipeline.data import Dataset
from pipeline.exemplars import exemplar_jobs, exemplars_of, to_bytes
from pipeline.flow import Flow, Modes, train_again
from pipeline.interrupt import check as check_signals
from pipeline.interrupt import deferred
from pipeline.late import Late
from pipeline.modes import notes
from pipeline.names import run_title, slug
from pipeline.parts import workers_of
from pipeline.pool import Pool, run_jobs
from pipeline.records import MemberRecord, TrialRecord
from pipeline.runner import Job, check, load_dataset, network
from pipeline.search import Asked, Search, ends_of, inert_axes
from pipeline.seeds import confirmation_seeds
from pipeline.stack import one_thread
from pipeline.tracking import TrialRun, Writer, asking_again, check_store

__all__ = ["check_study", "sweep"]


def sweep(config: Config, flags: Sequence[str] = ()) -> int:
    """Runs a study to its asked-for number of trials, or says that it has them."""
    data = load_dataset(config)
    check_study(config, data)
    check_store(config)
    for key, scheme in inert_axes(config).items():
        say(f"{key} has no effect with {scheme}: left out of the search")
    search = Search(config, data.digest)
    try:
        with deferred():
            return _run(search, data)
    finally:
        search.close()


def check_study(config: Config, data: Dataset) -> None:
    """Finds out before the first trial whether every end of every axis could be trained; else ``UsageError``."""
    check(config, data)
    seen = {Job(config, 0).structure}
    for end in ends_of(config):
        if (structure := Job(end, 0).structure) not in seen:
            check(end, data)
            seen.add(structure)


def _run(search: Search, data: Dataset) -> int:
    late = Late(search, data, note)
    finished = search.done
    if finished >= search.total:
        say(f"study {search.name}: all {search.total} trials are there already, nothing to train")
    else:
        _announce(search, data, finished)
    try:
        _search(search, late)
        _show_exemplars(search, late.tracker, data)
        runs = _confirmed(search, late.tracker, data)
    except BaseException as error:
        search.abandon()
        late.close("FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    late.tracker.end("FINISHED")
    return _conclude(search.config, late.tracker.patiently(runs.with_parent_as_it_is), late.tracker)


def _announce(search: Search, data: Dataset, finished: int) -> None:
    config = search.config
    axes = " and ".join(axis.key for axis in search.axes)
    say(
        f"study {search.name}: {search.total} trials x {config.search.replicates} replicates over {axes}"
        + (f", {finished} done already" if finished else ""),
        f"{data.name}: {len(data.y_train)} training, {len(data.y_val)} validation, {len(data.y_test)} test rows",
    )


def _search(search: Search, late: Late) -> None:
    """Runs the trials; MLflow is written beside them."""
    modes = Modes(search)
    with one_thread(), _pool(search, modes) as pool:
        # A fresh study the writer begins: making a store takes seconds.
        missing = late.resume() if search.done else ()
        with late.writer() as writer, progress(search.total, search.done, "trials") as bar:
            _log_missing(search, missing, writer, modes)

            def on_told(asked: Asked, record: TrialRecord, started: float) -> None:
                _log(search, writer, asked, record, started)
                if (best := search.best) is not None:
                    bar.best(f"best {best.value:.4f}")
                _say_notes(bar.say)

            Flow(search, modes, pool, on_told, bar.update).run()


def _pool(search: Search, modes: Modes) -> Pool:
    """Before anything else has a thread, which a process could not be forked beside."""
    workers = workers_of(search.config)
    usual = Job(search.config, search.config.seed)
    return Pool(workers, search.done < search.total and workers > 1 and modes.of(usual).mode == "native")


def _say_notes(speak: Callable[[str], None] = say) -> None:
    """What the engine found worth a line, once."""
    while notes:
        speak(f"note: {notes.pop(0)}")


def _log_missing(search: Search, numbers: Collection[int], writer: Writer, modes: Modes) -> None:
    """Finished trials that a crash kept from MLflow are trained again: to the same numbers."""
    missing = [trial for trial in search.finished if trial.number in numbers]
    if missing:
        say(f"{len(missing)} finished trials are not in MLflow; training them again to log them")
    for trial in missing:
        started = time.time()
        _log(search, writer, search.again(trial), train_again(search, trial, modes), started)


def _log(search: Search, writer: Writer, asked: Asked, record: TrialRecord, started: float) -> None:
    objective = None if record.pruned else search.objective(record)
    writer.submit(TrialRun(asked.number, asked.config, asked.values, record, objective, started))


def _confirmed(search: Search, tracker: tracking.StudyTracker, data: Dataset) -> tracking.StudyRuns:
    """The study's runs, with the winner confirmed on fresh seeds if that is asked for and it had not been."""
    runs = tracker.patiently(lambda: tracking.read_study(search.config, search.name))
    best, seeds = search.best, search.config.search.confirm
    known = runs.confirmation
    if best is None or not seeds or (known is not None and (known.trial, known.seeds) == (best.number, seeds)):
        return runs
    config = search.config_of(best)
    say(f"confirming the winner, {run_title(config)}, on {seeds} fresh seeds")
    jobs = [Job(config, seed, keep_state=True) for seed in confirmation_seeds(config.seed, seeds)]
    record = TrialRecord(run_jobs(jobs, lambda _: check_signals(), kept=Modes(search).kept))
    check_signals()
    model = ""
    if config.tracking.register_winner:
        model = tracker.outage.patiently(lambda: _register(config, runs, record.members, search.name, data))
    confirmation = tracking.Confirmation(
        trial=best.number,
        seeds=seeds,
        accuracy=record.mean("test/accuracy"),
        spread=record.spread("test/accuracy"),
        val_accuracy=record.mean("val/accuracy"),
        model=model,
    )
    tracker.log_confirmation(confirmation, record)
    return tracker.patiently(lambda: tracking.read_study(search.config, search.name))


def _show_exemplars(search: Search, tracker: tracking.StudyTracker, data: Dataset) -> None:
    """Trains the networks that the report shows beside the winner, unless they are on record."""
    best = search.best
    if best is None or not search.config.report.exemplars or tracker.exemplars_of == best.number:
        return
    jobs = exemplar_jobs(search.config_of(best))
    records = run_jobs(jobs, lambda _: check_signals(), kept=Modes(search).kept)
    check_signals()
    tracker.log_exemplars(to_bytes(exemplars_of(jobs, records, data)), best.number)


def _register(
    config: Config, runs: tracking.StudyRuns, members: Sequence[MemberRecord], study: str, data: Dataset
) -> str:
    """Registers the network of median validation accuracy: typical of the init, not the luckiest."""
    ranked = sorted(members, key=lambda m: m.final["val/accuracy"])
    typical = ranked[len(ranked) // 2]
    if typical.state is None or typical.diverged_step is not None:
        return ""
    run_id = runs.parent.info.run_id
    return tracking.register_winner(
        runs.store, run_id, f"initlab-{slug(study)}", network(config, data), typical.state, data
    )


def _conclude(config: Config, runs: tracking.StudyRuns, tracker: tracking.StudyTracker) -> int:
    with asking_again():
        written = tracker.patiently(lambda: report.build_report(config, runs))
    tracker.log_files(written.page.parent)
    tracker.show(written.note)
    if written.summary is not None:
        say("", *study_table(written.summary), "")
    if (found := runs.confirmation) is not None:
        say(f"winner on {found.seeds} fresh seeds: test accuracy {found.accuracy:.3f} +- {found.spread:.3f} (std)")
        if found.model:
            say(f"registered model: {found.model}")
    if lines := _pruned_lines(written.endings):
        say(*lines)
    say("browse the runs: make ui", "the report:", str(written.page))
    return 0


def _pruned_lines(endings: Sequence[report.Ending]) -> list[str]:
    """How many trials were not trained to their end, and why."""
    pruned = [ending for ending in endings if ending.kind == "pruned"]
    total = sum(ending.count for ending in pruned)
    if not total:
        return []
    many = f"{total} trials were" if total > 1 else "1 trial was"
    return [f"{many} pruned:", *(f"  {ending.count} {ending.reason}" for ending in pruned), ""]
