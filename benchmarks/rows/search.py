"""The row of what a search costs: with verdict and pruning over without."""

import shutil
import statistics
from collections.abc import Sequence

from benchmarks.engine import PRUNING, STUDY, Told, sweep_command, sweep_environment, told
from benchmarks.group import Context, Group
from benchmarks.processes import run
from benchmarks.result import Measured, Target

__all__ = ["GROUPS", "cost_to_reach"]

SEEDS = 5
NEAR = 0.005
REPLICATES, EPOCHS = 3, 20  # of a default trial
PRUNED, WHOLE = "with", "without"
ARMS = {PRUNED: PRUNING, WHOLE: ()}
# Of an epoch of one replicate on digits.
EPOCH_STEPS = 1077 // 64


def cost_to_reach(trials: Sequence[Told], goal: float) -> tuple[int, bool]:
    """Member-steps of the trials up to the first that reaches ``goal``, and whether one does; if not, of all."""
    spent = 0
    for trial in trials:
        spent += trial.steps
        if trial.value is not None and trial.value >= goal:
            return spent, True
    return spent, False


def _arm(context: Context, seed: int, arm: str, count: int) -> list[Told]:
    """The trials of one study."""
    folder = context.folder / f"search-{arm}-{seed}"
    keys = [*STUDY, *ARMS[arm], f"seed={seed}", f"search.n_trials={count}"]
    run(sweep_command(*keys), folder, sweep_environment(folder))
    trials = told(folder, EPOCH_STEPS, REPLICATES * EPOCHS)
    shutil.rmtree(folder)
    return trials


def _measure(context: Context) -> dict[str, Measured]:
    """Both arms under each study seed."""
    count = 24 if context.quick else 256
    shares: list[float] = []
    by_end: list[float] = []
    spent = dict.fromkeys(ARMS, 0)
    missed: list[str] = []
    for seed in range(context.rounds(SEEDS)):
        trials = {arm: _arm(context, seed, arm, count) for arm in ARMS}
        goal = max(t.value for found in trials.values() for t in found if t.value is not None) - NEAR
        numbered = {arm: sorted(found, key=lambda t: t.number) for arm, found in trials.items()}
        cost = {arm: cost_to_reach(found, goal) for arm, found in numbered.items()}
        missed += [f"{arm} under seed {seed}" for arm, (_, reached) in cost.items() if not reached]
        spent = {arm: spent[arm] + steps for arm, (steps, _) in cost.items()}
        (pruned, reached), (whole, _) = cost[PRUNED], cost[WHOLE]
        shares.append(pruned / whole if reached else max(1.0, pruned / whole))
        ended = cost_to_reach(trials[PRUNED], goal)[0] / cost_to_reach(trials[WHOLE], goal)[0]
        by_end.append(ended if reached else max(1.0, ended))
        context.say(f"seed {seed}: to {goal:.4f} in {pruned:,} member-steps with, {whole:,} without pruning")
    detail = {f"member-steps {arm}, all seeds": float(steps) for arm, steps in spent.items()}
    detail |= {
        "ratio of the sums": spent[PRUNED] / spent[WHOLE],
        "median, counted in the order in which trials end": statistics.median(by_end),
        "mean, counted so": statistics.mean(by_end),
    }
    remark = (
        f"{count} trials an arm. Counted in the order of their numbers, which is the same on any machine; the order in "
        "which they end is chance where a stack of a dozen ends at once"
    )
    if missed:
        rule = "all that was spent counts, and the ratio as at least 1 where pruning misses it"
        remark += f"; not reached (where {rule}): {', '.join(missed)}"
    return {"saving": Measured(shares, detail, remark)}


GROUPS: tuple[Group, ...] = (
    Group(
        (
            Target(
                "saving",
                "member-steps of trials, by number, until the best validation accuracy is within 0.005 "
                "of the best of both arms of a study seed: with verdict and pruning over without, 5 seeds",
                0.4,
                at_most=True,
                unit="",
                figure="mean",
            ),
        ),
        _measure,
    ),
)
