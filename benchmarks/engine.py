"""The lab's own side: the only module that knows the lab's keys and interfaces.

``training`` needs torch and numpy alone; the rest needs the whole lab.
"""

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.data import ROOT, Arrays
from benchmarks.environment import ENVIRONMENT
from benchmarks.peers import LR, MOMENTUM, Measure
from benchmarks.shapes import Shape
from benchmarks.unavailable import UnavailableError

__all__ = [
    "MODES",
    "PRUNING",
    "STUDY",
    "WORKERS",
    "Told",
    "empty_caches",
    "jobs",
    "report_command",
    "report_page",
    "sweep_command",
    "sweep_environment",
    "told",
    "training",
]

# Keys of the lab, each named here and nowhere else in the benchmark.
MODES = ("native", "compiled", "stacked", "loop")  # of trainer.execution, besides auto
WORKERS = "trainer.workers"  # cores that a study trains on
PRUNING = ("search.preflight=prune", "search.pruner=halving")
STUDY = ("search.confirm=0", "tracking.register=false")  # the same work as the template's, and no more

# Where compiled programs and measured choices are kept between runs: set to empty folders, so that they count.
CACHES = ("INITLAB_CACHE", "TORCHINDUCTOR_CACHE_DIR")
# Trainings of the study for which ``auto`` chooses a mode.
TRAININGS = 256 * 3 * 20


def training(shape: Shape, data: Arrays, device: str, execution: str = "auto", probes: bool | None = None) -> Measure:
    """``train``, in the mode and the stacks that the lab chooses.

    Without ``probes`` the time of the epochs after the first is measured, so that set-up
    and compiling don't count, as they don't for the peers.

    Args:
        execution: ``auto`` or one of ``MODES``.
        probes: None: each further epoch, without probes; else a whole training of 20 epochs
            with (True) or without (False) the standard probes.
    """
    from pipeline import models
    from pipeline.init import InitSpec
    from pipeline.modes import choose
    from pipeline.optim import OptimizerSpec
    from pipeline.plan import Member, Plan
    from pipeline.probes import preset
    from pipeline.train import train

    name, arguments = shape.model
    if not hasattr(models, name):
        raise UnavailableError(f"the lab has no pipeline.models.{name}")
    dataset = _dataset(data, device)
    module = getattr(models, name)(dataset.input_shape, dataset.n_classes, **arguments)
    init = InitSpec("glorot_normal", 1.0, "constant", 0.0, {}, {})
    members = [Member(seed, init, LR) for seed in range(shape.members if device == "cpu" else shape.gpu_members)]
    plan = Plan(
        batch_size=shape.batch,
        optimizer=OptimizerSpec("sgd", MOMENTUM),
        device=device,
        probes=tuple(preset("standard")) if probes else (),
        slots=0 if device == "cpu" else len(members),
    )
    steps = len(data.x_train) // shape.batch
    chosen = choose(execution, module, dataset, members[:1], plan, float(TRAININGS * steps))
    plan = replace(plan, execution=chosen.mode)
    stacks = [members[i : i + chosen.stack_size] for i in range(0, len(members), chosen.stack_size)]

    def seconds(epochs: int) -> float:
        begun = time.perf_counter()
        for stack in stacks:
            train(module, dataset, stack, replace(plan, epochs=epochs))
        return time.perf_counter() - begun

    work = steps * len(members)
    if probes is None:
        return _further(seconds, shape.epochs, work)

    def measure() -> tuple[float, float]:
        return seconds(20), 20 * work

    measure()
    return measure


def _further(seconds: Callable[[int], float], epochs: int, work: float) -> Measure:
    """The time of ``epochs`` epochs after the first one.

    Set-up and first epoch are timed thrice, and again with each measurement; the median of
    them all is taken off. Timed at the start alone they would make one process look faster
    than another of the same program for as long as both live, by up to a tenth.

    Args:
        seconds: of a training of so many epochs.
        work: of an epoch.
    """
    firsts = [seconds(1) for _ in range(3)]

    def measure() -> tuple[float, float]:
        whole = seconds(epochs + 1)
        firsts.append(seconds(1))
        return whole - statistics.median(firsts), epochs * work

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
    """``run_jobs`` on so many cores, without probes: the epochs after the first, as above."""
    from pipeline.config import compose
    from pipeline.loading import load_dataset
    from pipeline.pool import run_jobs
    from pipeline.runner import Job

    count = 4 * shape.members * workers
    rows = len(load_dataset(compose(overrides)).x_train)

    def seconds(epochs: int) -> float:
        config = compose([*overrides, f"{WORKERS}={workers}", f"trainer.epochs={epochs}", "probes.only=[]"])
        begun = time.perf_counter()
        run_jobs([Job(config, seed) for seed in range(count)])
        return time.perf_counter() - begun

    return _further(seconds, shape.epochs, rows // shape.batch * count)


def sweep_command(*overrides: str) -> list[str]:
    """``initlab sweep`` of this checkout."""
    return [sys.executable, "-P", "-m", "pipeline", "sweep", *overrides]


def report_command(study: str) -> list[str]:
    """Makes the report of a study again."""
    return [sys.executable, "-P", "-m", "pipeline", "report", f"study.name={study}"]


def report_page(folder: Path, study: str) -> Path:
    """The report of a plainly named study that was run in a folder."""
    return folder / "mlruns" / "reports" / study / "report.html"


def sweep_environment(folder: Path) -> dict[str, str]:
    """An environment in which nothing that was compiled before is found."""
    kept = {key: value for key, value in ENVIRONMENT.items() if key != "MLFLOW_TRACKING_URI"}
    return kept | empty_caches(folder) | {"PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true"}


def empty_caches(folder: Path) -> dict[str, str]:
    """The lab's caches as folders of their own under ``folder``."""
    return {name: str(folder / "caches" / name.lower()) for name in CACHES}


@dataclass(frozen=True)
class Told:
    """A trial with a result.

    Attributes:
        at: when it was told, in seconds since the epoch.
        value: its objective; None if it was pruned.
        steps: member-steps that it took.
    """

    number: int
    at: float
    value: float | None
    steps: int


def told(folder: Path, epoch_steps: int = 0, whole: int = 0) -> list[Told]:
    """The trials of the one study under ``folder``, in the order in which they ended.

    Args:
        epoch_steps: member-steps of an epoch of one replicate.
        whole: epochs of all replicates of a trial that was not stopped; one that was has
            reported how many it came to.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    (path,) = (folder / "mlruns" / "optuna").glob("*.journal")
    study = optuna.load_study(study_name=None, storage=JournalStorage(JournalFileBackend(str(path))))
    ended = [(t.datetime_complete, t) for t in study.trials if t.datetime_complete and t.state != TrialState.FAIL]
    ended.sort(key=lambda pair: pair[0])
    found = []
    for at, trial in ended:
        complete = trial.state == TrialState.COMPLETE
        epochs = whole if complete else max(trial.intermediate_values, default=0)
        found.append(Told(trial.number, at.timestamp(), trial.value if complete else None, epochs * epoch_steps))
    return found
