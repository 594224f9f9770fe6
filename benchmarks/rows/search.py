"""The row of what a search costs: with verdict and pruning over without."""

import shutil
from collections.abc import Sequence

from benchmarks.engine import PRUNING, STUDY, Told, sweep_command, sweep_environment, told
from benchmarks.group import Context, Group
from benchmarks.processes import run
from benchmarks.result import Measured, Target

__all__ = ["GROUPS", "cost_to_reach"]

SEEDS = 5
NEAR = 0.005
# Of a digits trial that is trained to the end: replicates x epochs x steps an epoch.
TRIAL_STEPS = 3 * 20 * (1077 // 64)


def cost_to_reach(trials: Sequence[Told], goal: float) -> tuple[float, bool]:
    """Member-steps spent when the first trial reaches ``goal``, and whether one does; if not, all that were spent."""
    for trial in trials:
        if trial.value is not None and trial.value >= goal:
            return trial.spent, True
    return trials[-1].spent, False


def _measure(context: Context) -> dict[str, Measured]:
    """Both arms under each study seed."""
    count = 24 if context.quick else 256
    shares: list[float] = []
    spent = {"with": 0.0, "without": 0.0}
    missed: list[str] = []
    for seed in range(context.rounds(SEEDS)):
        arms: dict[str, list[Told]] = {}
        for arm, keys in (("with", PRUNING), ("without", ())):
            folder = context.folder / f"search-{arm}-{seed}"
            run(
                sweep_command(*STUDY, *keys, f"seed={seed}", f"search.n_trials={count}"),
                folder,
                sweep_environment(folder),
            )
            arms[arm] = told(folder, TRIAL_STEPS)
            shutil.rmtree(folder)
        goal = max(t.value for trials in arms.values() for t in trials if t.value is not None) - NEAR
        costs = {arm: cost_to_reach(trials, goal) for arm, trials in arms.items()}
        missed += [f"{arm} pruning under seed {seed}" for arm, (_, reached) in costs.items() if not reached]
        for arm, (cost, _) in costs.items():
            spent[arm] += cost
        shares.append(costs["with"][0] / costs["without"][0])
        context.say(f"seed {seed}: {costs['with'][0]:,.0f} member-steps with, {costs['without'][0]:,.0f} without")
    detail = {f"member-steps {arm}, all seeds": total for arm, total in spent.items()}
    remark = f"{count} trials an arm"
    if missed:
        remark += f"; counted as all that was spent, as the goal was not reached: {', '.join(missed)}"
    detail |= {"ratio of the sums": spent["with"] / spent["without"]}
    return {"saving": Measured(shares, detail, remark)}


GROUPS: tuple[Group, ...] = (
    Group(
        (
            Target(
                "saving",
                "member-steps, in the order in which trials end, until the best validation accuracy is within 0.005 "
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
