"""Rows of the report: how long it takes to make, how large it is, and how soon a browser shows it."""

import shutil
import statistics
import time
from pathlib import Path

from benchmarks.engine import report_command, report_page, sweep_command, sweep_environment
from benchmarks.group import Context, Group
from benchmarks.processes import run
from benchmarks.result import Measured, Target
from benchmarks.unavailable import UnavailableError

__all__ = ["GROUPS"]

TRIALS, MANY = 1000, 10_000
RUNS = 5
# What is reported is what counts here, not what it was trained to.
FAST = ("trainer.epochs=2", "search.sampler=random", "search.confirm=0", "tracking.register=false")


def _study(context: Context, trials: int) -> tuple[Path, str]:
    """Runs a study of so many trials; its folder and name."""
    name = f"trials-{trials}"
    folder = context.folder / name
    ran = run(
        sweep_command(f"study.name={name}", f"search.n_trials={trials}", *FAST), folder, sweep_environment(folder)
    )
    context.say(f"a study of {trials} trials: {ran.seconds:.0f} s")
    return folder, name


def _made(context: Context, trials: int) -> tuple[list[float], list[float]]:
    """Seconds and megabytes of the report over so many trials, made again and again."""
    folder, name = _study(context, trials)
    seconds, sizes = [], []
    for _ in range(context.rounds(RUNS)):
        ran = run(report_command(name), folder, sweep_environment(folder))
        size = report_page(folder, name).stat().st_size / 1e6
        context.say(f"report over {trials} trials: {ran.seconds:.1f} s, {size:.1f} MB")
        seconds.append(ran.seconds)
        sizes.append(size)
    return seconds, sizes


def _reports(context: Context) -> dict[str, Measured]:
    seconds, sizes = _made(context, 60 if context.quick else TRIALS)
    more_seconds, more_sizes = _made(context, 120 if context.quick else MANY)
    remark = "from the start of `initlab report` to its end; of each size one study, its report made again and again"
    return {
        "report-seconds": Measured(seconds, {f"s over {MANY} trials": statistics.median(more_seconds)}, remark),
        "report-megabytes": Measured(sizes, {f"MB over {MANY} trials": statistics.median(more_sizes)}),
    }


def _interactive(context: Context) -> dict[str, Measured]:
    """Each round: the page in a fresh tab, until its map is drawn and its switch has been used."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise UnavailableError("playwright is not installed: make test-e2e installs it") from None
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        raise UnavailableError("no chromium: make test-e2e installs it")
    folder, name = _study(context, 60 if context.quick else TRIALS)
    address = report_page(folder, name).resolve().as_uri()
    seconds = []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        for _ in range(context.rounds(RUNS)):
            page = chromium.new_page()
            begun = time.perf_counter()
            page.goto(address, wait_until="commit")
            page.wait_for_selector("html[data-ready=true]")
            page.wait_for_selector("#maps .plot .main-svg")
            page.locator(".switch input").nth(1).check()
            seconds.append(time.perf_counter() - begun)
            context.say(f"interactive after {seconds[-1]:.2f} s")
            page.close()
        chromium.close()
    return {"report-interactive": Measured(seconds, remark="until the map is drawn and its switch has been used")}


GROUPS: tuple[Group, ...] = (
    Group(
        (
            Target(
                "report-seconds",
                "making the report of a study of 1,000 trials",
                20.0,
                at_most=True,
                unit="s",
            ),
            Target("report-megabytes", "the size of that report", 12.0, at_most=True, unit="MB", figure="largest"),
        ),
        _reports,
    ),
    Group(
        (
            Target(
                "report-interactive",
                "from opening that report in chromium to its being used",
                3.0,
                at_most=True,
                unit="s",
            ),
        ),
        _interactive,
    ),
)
