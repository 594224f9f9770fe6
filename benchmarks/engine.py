"""The lab's own side: the only module that knows the lab's keys and interfaces.

``training`` needs torch and numpy alone; the rest needs the whole lab.
"""

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from benchmarks.data import ROOT, Arrays
from benchmarks.peers import LR, MOMENTUM, Measure
from benchmarks.shapes import Shape
from benchmarks.unavailable import Unavailable

__all__ = ["MODES", "PRUNING", "STUDY", "Told", "jobs", "sweep_command", "sweep_environment", "told", "training"]

# Keys of the lab, each named here and nowhere else in the benchmark.
MODES = ("native", "compiled", "stacked", "loop")  # of Plan.execution, besides auto
WORKERS = "trainer.workers"  # cores that a study trains on
PRUNING = ("search.preflight=prune", "search.pruner=halving")
STUDY = ("search.confirm=0", "tracking.register=false")  # the same work as the template's, and no more
MEMBER_STEPS = "member_steps"  # a trial's user attribute: steps of all its replicates, where it was cut short

# Where compiled programs are kept between runs: set to an empty folder, so that compiling counts.
CACHES = ("TORCHINDUCTOR_CACHE_DIR", "TORCH_EXTENSIONS_DIR", "XDG_CACHE_HOME")


def training(shape: Shape, data: Arrays, device: str, execution: str = "auto", probes: bool | None = None) -> Measure:
    """``train`` on one stack.

    Without probes the time of each further epoch is measured: that of ``epochs + 1`` less
    that of one, so that set-up and compiling don't count, as they don't for the peers.

    Args:
        probes: None: each further epoch, without probes; else a whole training of 20 epochs
            with (True) or without (False) the standard probes.
    """
    from pipeline import models
    from pipeline.init import InitSpec
    from pipeline.optim import OptimizerSpec
    from pipeline.plan import Member, Plan
    from pipeline.probes import preset
    from pipeline.train import train

    name, arguments = shape.model
    if not hasattr(models, name):
        raise Unavailable(f"the lab has no pipeline.models.{name}")
    dataset = _dataset(data, device)
    module = getattr(models, name)(dataset.input_shape, dataset.n_classes, **arguments)
    init = InitSpec("glorot_normal", 1.0, "constant", 0.0, {}, {})
    count = shape.gpu_members if device == "cuda" else shape.members
    members = [Member(seed, init, LR) for seed in range(count)]
    chosen = tuple(preset("standard")) if probes else ()
    forced = {} if execution == "auto" else {"execution": execution}
    optimizer = OptimizerSpec("sgd", MOMENTUM)

    def seconds(epochs: int) -> float:
        try:
            plan = Plan(epochs, shape.batch, optimizer, device=device, probes=chosen, **forced)  # type: ignore[arg-type]
        except TypeError:
            raise Unavailable("the lab's Plan has no execution") from None
        begun = time.perf_counter()
        train(module, dataset, members, plan)
        return time.perf_counter() - begun

    def measure() -> tuple[float, float]:
        steps = len(data.x_train) // shape.batch * count
        if probes is not None:
            return seconds(20), 20 * steps
        return seconds(shape.epochs + 1) - seconds(1), shape.epochs * steps

    measure()
    return measure


def _dataset(data: Arrays, device: str):  # type: ignore[no-untyped-def]  # pipeline is imported where it is measured
    import torch

    from pipeline.dataset import Dataset

    shape = data.x_train.shape[1:]
    parts = (data.x_train, data.y_train, data.x_val, data.y_val, data.x_val, data.y_val)
    found = Dataset("bench", *parts, torch.zeros(shape), torch.ones(shape), int(data.y_train.max()) + 1, "bench")
    return found.to(device, torch.float32)


def jobs(shape: Shape, overrides: Sequence[str], workers: int) -> Measure:
    """``run_jobs`` on so many cores, without probes: the time of each further epoch, as above."""
    from pipeline.config import compose
    from pipeline.runner import Job, load_dataset, run_jobs

    count = 4 * shape.members * workers
    rows = len(load_dataset(compose(overrides)).x_train)

    def seconds(epochs: int) -> float:
        config = compose([*overrides, f"{WORKERS}={workers}", f"trainer.epochs={epochs}", "probes.only=[]"])
        begun = time.perf_counter()
        run_jobs([Job(config, seed) for seed in range(count)])
        return time.perf_counter() - begun

    def measure() -> tuple[float, float]:
        steps = rows // shape.batch * count
        return seconds(shape.epochs + 1) - seconds(1), shape.epochs * steps

    measure()
    return measure


def sweep_command(*overrides: str) -> list[str]:
    """``initlab sweep`` of this checkout."""
    return [sys.executable, "-P", "-m", "pipeline", "sweep", *overrides]


def sweep_environment(folder: Path) -> dict[str, str]:
    """An environment in which nothing that was compiled before is found."""
    kept = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
    caches = {name: str(folder / "caches" / name.lower()) for name in CACHES}
    return kept | caches | {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}


@dataclass(frozen=True)
class Told:
    """A trial with a result.

    Attributes:
        at: when it was told, in seconds since the epoch.
        value: its objective; None if it was pruned.
        spent: member-steps of the study up to and with it.
    """

    at: float
    value: float | None
    spent: float


def told(folder: Path, steps: int) -> list[Told]:
    """The trials of the one study under ``folder``, in the order in which they ended.

    Args:
        steps: member-steps of a trial whose replicates were all trained to the end.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    (path,) = (folder / "mlruns" / "optuna").glob("*.journal")
    study = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(path))))
    ended = [t for t in study.trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED) and t.datetime_complete]
    ended.sort(key=lambda t: t.datetime_complete)
    full = {TrialState.COMPLETE: float(steps), TrialState.PRUNED: 0.0}
    costs = [float(t.user_attrs.get(MEMBER_STEPS, full[t.state])) for t in ended]
    values = [t.value if t.state == TrialState.COMPLETE else None for t in ended]
    times = [t.datetime_complete.timestamp() for t in ended]
    return [Told(*each) for each in zip(times, values, accumulate(costs), strict=True)]
