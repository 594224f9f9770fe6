"""``initlab sweep``: search, track, confirm the winner, report."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline import report, tracking
from pipeline.config import Config
from pipeline.console import say, say_notes, study_table
from pipeline.data import Dataset
from pipeline.exemplars import exemplar_jobs, exemplars_of, to_bytes
from pipeline.flow import Modes
from pipeline.interrupt import check as check_signals
from pipeline.launch import check_launch, launch
from pipeline.loading import load_dataset
from pipeline.names import run_title, slug
from pipeline.pool import run_jobs
from pipeline.records import MemberRecord, TrialRecord
from pipeline.runner import Job, network
from pipeline.search import Search
from pipeline.seeds import confirmation_seeds
from pipeline.shift import Shift, on_shift
from pipeline.tracking import asking_again

__all__ = ["sweep"]


def sweep(config: Config, flags: Sequence[str] = (), overrides: Sequence[str] = ()) -> int:
    """Runs a study to its asked-for number of trials, or says that it has them; then concludes it."""
    check_launch(config)
    data = load_dataset(config)
    with on_shift(config, data, "sweep", overrides) as shift:
        if config.launcher.workers and shift.search.done < shift.search.total:
            launch(shift, overrides)
        else:
            shift.run()
        shift.wait_for_others()
        with shift.search.lock("conclusion"):
            _show_exemplars(shift.search, shift.tracker, data)
            runs = _confirmed(shift, data)
            shift.end()
            return _conclude(config, shift.tracker.patiently(runs.with_parent_as_it_is), shift.tracker)


def _confirmed(shift: Shift, data: Dataset) -> tracking.StudyRuns:
    """The study's runs, with the winner confirmed on fresh seeds if that is asked for and it had not been."""
    search, tracker = shift.search, shift.tracker
    runs = _read(search, tracker)
    best, seeds = search.best, search.config.search.confirm
    known = runs.confirmation
    if best is None or not seeds or (known is not None and (known.trial, known.seeds) == (best.number, seeds)):
        return runs
    config = search.config_of(best)
    say(f"confirming the winner, {run_title(config)}, on {seeds} fresh seeds")
    jobs = [Job(config, seed, keep_state=True) for seed in confirmation_seeds(config.seed, seeds)]
    record = TrialRecord(run_jobs(jobs, lambda _: check_signals(), kept=Modes(search).kept))
    check_signals()
    say_notes()
    shift.failures.tell(record)
    model = ""
    if config.tracking.register_winner:
        model = _register(best.number, config, runs, record.members, tracker, data)
    confirmation = tracking.Confirmation(
        trial=best.number,
        seeds=seeds,
        accuracy=record.mean("test/accuracy"),
        spread=record.spread("test/accuracy"),
        val_accuracy=record.mean("val/accuracy"),
        model=model,
    )
    tracker.log_confirmation(confirmation, record)
    return _read(search, tracker)


def _read(search: Search, tracker: tracking.StudyTracker) -> tracking.StudyRuns:
    with asking_again():
        return tracker.patiently(lambda: tracking.read_study(search.config, search.name))


def _show_exemplars(search: Search, tracker: tracking.StudyTracker, data: Dataset) -> None:
    """Trains the networks that the report shows beside the winner, unless they are on record."""
    best = search.best
    if best is None or not search.config.report.exemplars or tracker.exemplars_of == best.number:
        return
    jobs = exemplar_jobs(search.config_of(best))
    records = run_jobs(jobs, lambda _: _meanwhile(), kept=Modes(search).kept)
    check_signals()
    say_notes()
    tracker.log_exemplars(to_bytes(exemplars_of(jobs, records, data)), best.number)


def _meanwhile() -> None:
    """While others train: what draws is imported, as it is needed next."""
    check_signals()
    _ = report.build_report


def _register(
    trial: int,
    config: Config,
    runs: tracking.StudyRuns,
    members: Sequence[MemberRecord],
    tracker: tracking.StudyTracker,
    data: Dataset,
) -> str:
    """Registers the network of median validation accuracy: typical of the init, not the luckiest."""
    ranked = sorted(members, key=lambda m: m.final["val/accuracy"])
    typical = ranked[len(ranked) // 2]
    if typical.state is None or typical.diverged_step is not None:
        return ""
    return tracking.register_winner(
        runs.store,
        runs.parent.info.run_id,
        f"initlab-{slug(runs.study)}",
        network(config, data),
        typical.state,
        data,
        {"initlab.trial": str(trial), "initlab.seed": str(typical.seed)},
        tracker.outage.patiently,  # not watched: another thread would speak into what is silent here
    )


def _conclude(config: Config, runs: tracking.StudyRuns, tracker: tracking.StudyTracker) -> int:
    with asking_again():
        story = tracker.patiently(lambda: report.tell(runs, config.report.top))
    written = report.build_report(config, story)
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
