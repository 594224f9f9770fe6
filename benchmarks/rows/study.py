"""Rows of whole studies: against the usual template, and as they grow."""

import shutil
import statistics
from collections.abc import Sequence

from benchmarks.engine import STUDY, Told, sweep_command, sweep_environment, told
from benchmarks.group import Context, Group
from benchmarks.processes import Ran, run
from benchmarks.result import Measured, Target, ratios
from benchmarks.template_peer import python, run_template

__all__ = ["GROUPS", "marginal"]

REPLICATES, EPOCHS = 3, 20
RUNS = 5


def _sweep(context: Context, name: str, *overrides: str, memory: bool = False) -> Ran:
    folder = context.folder / name
    ran = run(sweep_command(*overrides), folder, sweep_environment(folder), memory=memory)
    peak = f", {ran.peak_bytes / 1e9:.2f} GB" if memory else ""
    context.say(f"lab: {' '.join(overrides)}: {ran.seconds:.1f} s{peak}")
    return ran


def _against_template(context: Context) -> dict[str, Measured]:
    """Each round: the template's study, the lab's same study, and the lab's larger one."""
    interpreter = python(context.say)
    small, large, start = (12, 36, 4) if context.quick else (256, 2000, 64)
    sides: dict[str, list[float]] = {"(c)": [], "(c) slope": [], "lab": [], "lab slope": []}
    for i in range(context.rounds(RUNS)):
        for turn in ("template", "lab") if i % 2 else ("lab", "template"):
            if turn == "template":
                peer = run_template(interpreter, context.folder / f"template-{i}", small)
                context.say(f"(c): {small} trials in {peer.seconds:.1f} s, {peer.slope(start):.3f} s a further trial")
                sides["(c)"].append(peer.seconds)
                sides["(c) slope"].append(peer.slope(start))
                continue
            whole, grown = (_sweep(context, f"lab-{i}-{n}", *STUDY, f"search.n_trials={n}") for n in (small, large))
            sides["lab"].append(whole.seconds)
            sides["lab slope"].append((grown.seconds - whole.seconds) / (large - small))
        for folder in context.folder.iterdir():
            shutil.rmtree(folder)
    middle = {name: statistics.median(values) for name, values in sides.items()}
    alike = "without confirming and registering the winner, as (c) doesn't either"
    whole_detail = {f"lab, s for {small} trials": middle["lab"], f"(c), s for {small} trials": middle["(c)"]}
    slope_detail = {"lab, s a further trial": middle["lab slope"], "(c), s a further trial": middle["(c) slope"]}
    remark = (
        f"the lab's slope is the time of {large} trials less that of {small}, both from process start to end; "
        f"(c)'s is the time from the end of its trial {start} to that of its trial {small}, by MLflow's stamps"
    )
    return {
        "study": Measured(ratios(sides["(c)"], sides["lab"]), whole_detail, alike),
        "slope": Measured(ratios(sides["(c) slope"], sides["lab slope"]), slope_detail, remark),
    }


def marginal(trials: Sequence[Told], low: int, high: int) -> float:
    """Seconds a trial between the ``low``th and the ``high``th to end: the slope of a least-squares line.

    Trials are told in batches, so that the difference of two stamps alone would depend on
    where in a batch they fall.
    """
    return statistics.linear_regression(range(low, high), [t.at for t in trials[low:high]]).slope


def _large(context: Context) -> dict[str, Measured]:
    """Default studies of 5,000 trials: the pace early and late, and the memory."""
    count, early, late = (120, (20, 60), (80, 120)) if context.quick else (5000, (300, 700), (4600, 5000))
    growth: list[float] = []
    paces: list[tuple[float, float]] = []
    peaks: list[float] = []
    seconds: list[float] = []
    for i in range(context.rounds(RUNS)):
        ran = _sweep(context, f"large-{i}", f"seed={i}", f"search.n_trials={count}", memory=True)
        trials = told(context.folder / f"large-{i}")
        pace = marginal(trials, *early), marginal(trials, *late)
        context.say(f"s a trial: {pace[0]:.4f} early, {pace[1]:.4f} late")
        paces.append(pace)
        growth.append(pace[1] / pace[0])
        peaks.append(ran.peak_bytes / 1e9)
        seconds.append(ran.seconds)
        shutil.rmtree(context.folder / f"large-{i}")
    first, last = (statistics.median(each) for each in zip(*paces, strict=True))
    spans = [f"{low} to {high}" for low, high in (early, late)]
    detail = {f"s a trial, {spans[0]}": first, f"s a trial, {spans[1]}": last}
    remark = "one study a pair, under seeds 0 to 4; from the journal's stamps of completion, by least squares"
    memory = "resident memory of the process and its children, what they share counted once (PSS), sampled"
    return {
        "growth": Measured(growth, detail, remark),
        "memory": Measured(peaks, {"s a study": statistics.median(seconds)}, memory),
    }


GROUPS: tuple[Group, ...] = (
    Group(
        (
            Target(
                "study",
                "a study of 256 trials x 3 replicates x 20 epochs on digits with probes and MLflow, from process "
                "start to end, compiling included, against (c) on two workers",
                8.0,
            ),
            Target("slope", "the same, each further trial (256 to 2,000), against (c)'s further trials", 12.0),
        ),
        _against_template,
    ),
    Group(
        (
            Target(
                "growth",
                "time per trial at 5,000 trials over that at 500, asking included, default study",
                1.3,
                at_most=True,
            ),
            Target(
                "memory",
                "peak memory of a default study of 5,000 trials",
                2.0,
                at_most=True,
                unit="GB",
                figure="largest",
            ),
        ),
        _large,
    ),
)
