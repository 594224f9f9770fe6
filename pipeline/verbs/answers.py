"""``initlab answers``: the seven questions, answered by experiment."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipeline.answers import QUESTIONS, VERDICT, Answer, answer, rank_verdicts
from pipeline.children import run_all
from pipeline.config import Config, compose, handed_on
from pipeline.console import progress, say
from pipeline.errors import UsageError
from pipeline.loading import load_dataset
from pipeline.parts import places_to_train, sharing_cores
from pipeline.probes import PROBES
from pipeline.report import build_report, check_folder, report_path, tell, write_answers
from pipeline.search import axes_of, grid_size, planned, study_name, trial_counter
from pipeline.shift import check_study
from pipeline.tracking import StudyRuns, check_store, open_store, read_study

__all__ = ["answers"]


def answers(config: Config, flags: Sequence[str], overrides: Sequence[str]) -> int:
    """Trains what the questions' studies lack, computes the answers, writes them down."""
    started = time.monotonic()
    studies = _studies(config, overrides)
    check_folder(config)
    check_store(config)
    runs = {name: of for name, study in studies.items() if (of := _whole(study)) is not None}
    missing = {name: study for name, study in studies.items() if name not in runs}
    if missing:
        _train(missing, overrides, len(studies))
        runs |= {name: read_study(study, study_name(study)) for name, study in missing.items()}
    else:
        say(f"all {len(studies)} studies are there already, nothing to train")
    found = [told for name in studies if (told := answer(runs[name])) is not None]
    ranking = rank_verdicts(runs[VERDICT]) if VERDICT in runs else None
    written = write_answers(config, found, ranking)
    say("", *_verdicts(found), "")
    if ranking is not None:
        say("The verdict before training:", *[f"  {text}" for text in ranking.sentences], "")
    say(f"{time.monotonic() - started:.0f} s; the answers, and the report of each study:")
    say(*map(str, [*written, *(_report(study, runs[name]) for name, study in studies.items())]))
    return 0


def _studies(config: Config, overrides: Sequence[str]) -> dict[str, Config]:
    """The configuration of each question's study: its experiment, under the user's overrides."""
    if config.study.name is not None:
        raise UsageError.of("study.name", config.study.name, "can't be given here: each question has its own study")
    for override in overrides:
        key, _, given = override.partition("=")
        if key in ("experiment", "study.question"):
            raise UsageError.of(key, given, "can't be given here; choose by report.questions=[...]")
    studies: dict[str, Config] = {}
    for name in config.report.questions:
        studies[name] = compose([f"experiment={name}", *overrides])
    for of, study in studies.items():
        _check(of, study)
    return studies


def _check(name: str, study: Config) -> None:
    """Finds out before anything is trained whether a study could run and be answered from."""
    check_study(study, load_dataset(study))
    if study.search.preflight == "prune":
        raise UsageError.of("search.preflight", "prune", "answers need every trial trained, so it must be log")
    if study.search.pruner != "none":
        raise UsageError.of("search.pruner", study.search.pruner, "answers need whole trainings, so none")
    if name == VERDICT:
        return
    whole = grid_size(study, axes_of(study))
    if study.search.n_trials < whole:
        allowed = f"{name} needs its whole grid of {whole} trials"
        raise UsageError.of("search.n_trials", study.search.n_trials, allowed)
    for metric in QUESTIONS[name].metrics:
        probe = metric.removeprefix("init/")
        if probe in PROBES and probe not in study.probes.chosen:
            raise UsageError.of("probes", study.probes.only or study.probes.preset, f"{name} needs {probe}")
    arms = QUESTIONS[name].arms
    if arms not in (axis.key for axis in axes_of(study)):
        raise UsageError.of(f"search.space.{arms}", None, f"{name} compares its arms, so they must stay an axis")


def _whole(study: Config) -> StudyRuns | None:
    """A study's runs if MLflow holds every one."""
    try:
        runs = read_study(study, study_name(study))
    except UsageError:  # there is no such study yet
        return None
    return runs if runs.finished and len(runs.trials) + len(runs.pruned) >= planned(study, axes_of(study)) else None


def _train(missing: Mapping[str, Config], overrides: Sequence[str], total: int) -> None:
    sizes = {name: planned(study, axes_of(study)) for name, study in missing.items()}
    networks = sum(sizes[name] * study.search.replicates for name, study in missing.items())
    at_once = min(places_to_train(next(iter(missing.values()))), len(missing))
    say(f"{len(missing)} of {total} studies to run, {networks} networks, {at_once} processes at once")
    open_store(next(iter(missing.values())))  # so that the children need not wait for one of them to make it
    longest_first = sorted(missing, key=lambda name: -sizes[name])
    # Earlier than the user's, which therefore win.
    own = sharing_cores(next(iter(missing.values())), at_once)
    given, variables = handed_on(next(iter(missing.values())), overrides)
    commands = {name: ["sweep", f"experiment={name}", *own, *given] for name in longest_first}
    counters = [trial_counter(study) for study in missing.values()]
    with progress(sum(sizes.values()), 0, "trials") as bar:
        run_all(
            commands,
            at_once,
            on_end=lambda name, seconds: bar.say(f"{name}: {sizes[name]} trials, {seconds:.0f} s"),
            on_poll=lambda: bar.update(sum(count() for count in counters)),
            variables=variables,
        )


def _report(study: Config, runs: StudyRuns) -> Path:
    """The report that the study's own process wrote; made here where it is missing."""
    path = report_path(study, runs.study)
    return path if path.is_file() else build_report(study, tell(runs, study.report.top)).page


def _verdicts(found: Sequence[Answer]) -> list[str]:
    """Each question with its claims, and under each claim its verdict."""
    return [
        line
        for told in found
        for line in (
            f"{told.question.name.upper()}. {told.question.title}",
            *[text for f in told.findings for text in (f"  {f.claim.text}", f"    {f.verdict}")],
        )
    ]
