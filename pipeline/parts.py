"""A stack on its way: what is trained together, in which mode and size, and up to where."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

from torch import nn

from pipeline.children import cores
from pipeline.config import Config, SlurmLauncher
from pipeline.dataset import Dataset
from pipeline.device import resolve_device
from pipeline.errors import RunError
from pipeline.free import is_out_of_memory
from pipeline.memory import available_gb, member_bytes
from pipeline.modes import Choice, choose
from pipeline.notes import notes
from pipeline.paused import Paused
from pipeline.plan import Member, Plan
from pipeline.records import MemberRecord
from pipeline.runner import Job, Structure, member_of, setup
from pipeline.train import Training, stacks_of

__all__ = ["Part", "Trainer", "choice_of", "kept_as", "sharing_cores", "train_part", "workers_of"]

# Of the memory that is free, what stacks may take if trainer.max_memory_gb doesn't say.
SHARE_OF_MEMORY = 0.5
# Of a stack on a GPU.
MOST_SLOTS = 512


class Part:
    """A stack on its way: jobs from their start, or one paused member for each job, up to an epoch.

    Attributes:
        last: whether its members have records then; else they are paused.
        choice: how it is trained.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        until: int | None = None,
        start: "Sequence[Member] | Sequence[Paused]" = (),
        *,
        last: bool | None = None,
        choice: Choice | None = None,
    ) -> None:
        self.jobs, epochs = list(jobs), jobs[0].config.trainer.epochs
        self.until = epochs if until is None else until
        self.start = list(start) or [member_of(job) for job in jobs]
        self.last = self.until == epochs if last is None else last
        self.choice = choice or choice_of(jobs[0])


_choosing = threading.Lock()


@lru_cache(maxsize=64)
def _choice(of: Structure, forced: str, kept: bool, size: int | None, memory_gb: float | None, at_once: int) -> Choice:
    data, module, plan = setup(of)
    config = of.config
    steps = config.trainer.epochs * (len(data.x_train) // plan.batch_size)
    work = steps * config.search.n_trials * config.search.replicates
    room = (memory_gb or SHARE_OF_MEMORY * available_gb(plan.device)) * 1e9
    on_gpu = plan.device != "cpu"
    fitting = max(1, int(room / at_once / member_bytes(module, data, plan)))
    if on_gpu:
        plan = replace(plan, slots=(size or 1) if kept else _fitted(size or 1, fitting))
    found = _found(forced, module, data, [member_of(Job(config, config.seed))], plan, work)
    if kept and found.mode != forced:
        raise RunError(f"the study was begun with trainer.execution={forced}, which can't be had here: {notes[-1]}")
    return found if on_gpu else replace(found, stack_size=min(size or found.stack_size, fitting))


def _found(forced: str, module: nn.Module, data: Dataset, members: list[Member], plan: Plan, work: int) -> Choice:
    """``choose``; where a GPU's memory runs out in it, with half of the slots."""
    try:
        return choose(forced, module, data, members, plan, work)
    except Exception as error:
        if not (plan.slots and is_out_of_memory(error)):
            raise
    return _found(forced, module, data, members, replace(plan, slots=_halved(plan.slots)), work)


def _fitted(size: int, fitting: int) -> int:
    """A stack's size, halved until it fits, and a note of it."""
    found = size
    while found > fitting:
        found = -(-found // 2)
    if found < size:
        notes.append(f"no room for {size} networks in a stack; going on with {found}")
    return found


def _halved(size: int) -> int:
    """Half a stack for which memory has run out, and a note of it."""
    if size == 1:
        raise RunError("out of memory with a single network; use a smaller one, or a smaller trainer.batch_size")
    notes.append(f"out of memory with {size} networks in a stack; going on with {-(-size // 2)}")
    return -(-size // 2)


def choice_of(job: Job, kept: str | None = None) -> Choice:
    """Mode and stack size for networks of a structure; measured once in a process.

    Args:
        kept: what a study was begun with, which it keeps: as ``kept_as`` has it.

    Raises:
        UsageError: ``trainer.execution`` can't train this network.
        RunError: nor can the kept mode, here.
    """
    config, trainer, on_gpu = job.config, job.config.trainer, _on_gpu(job.config)
    mode, _, size = (kept or "").partition(" ")
    if kept and bool(size) != on_gpu:
        here, there = ("a GPU", "the CPU") if on_gpu else ("the CPU", "a GPU")
        raise RunError(f"the study was begun on {there}, and {here} rounds otherwise: go on with it there, or anew")
    wanted = int(size) if size else trainer.stack_size
    if wanted is None and on_gpu:
        wanted = _usual_slots(config)
    # Workers that a launcher starts on this host share its memory.
    several = 1 if isinstance(config.launcher, SlurmLauncher) else max(1, config.launcher.workers)
    at_once = several * workers_of(config)
    with _choosing:
        return _choice(Structure.of(job), mode or trainer.execution, bool(kept), wanted, trainer.max_memory_gb, at_once)


def kept_as(job: Job, choice: Choice) -> str:
    """What of a choice decides bits, which a study therefore keeps: the mode, and on a GPU the stack size."""
    return f"{choice.mode} {choice.stack_size}" if _on_gpu(job.config) else choice.mode


def places_to_train(config: Config) -> int:
    """Stacks that may train at once: one a core. A GPU is kept busy by one, which is larger for it."""
    return 1 if _on_gpu(config) else cores()


def workers_of(config: Config) -> int:
    """How many stacks this process trains at once: ``trainer.workers``, or as many as may."""
    return config.trainer.workers or places_to_train(config)


def sharing_cores(config: Config, processes: int) -> list[str]:
    """Overrides by which each of several processes trains on its share of the cores; of a GPU nothing is shared out."""
    return [] if _on_gpu(config) else [f"trainer.workers={max(1, cores() // processes)}"]


def _on_gpu(config: Config) -> bool:
    return resolve_device(config.device) != "cpu"


def _usual_slots(config: Config) -> int:
    """Members of each stack on a GPU, by the configuration alone, as their bits depend on it.

    What ``Flow`` gives each of the launcher's workers at the start of a study, up to a power of two.
    """
    under_way = min(config.search.batch, config.search.n_trials)
    share = -(-under_way // (2 * max(1, config.launcher.workers)))
    return min(MOST_SLOTS, 1 << (config.search.replicates * share - 1).bit_length())


# Of structures whose stacks didn't fit into memory: how many members do. Of this process.
_smaller: dict[str, int] = {}


class Trainer:
    """Trains parts.

    Args:
        progress: called with the member-epochs that are done, after each epoch.
        check: called every few steps; what it raises ends the training.
    """

    def __init__(self, progress: Callable[[float], None], check: Callable[[], None]) -> None:
        self.progress, self.check = progress, check

    def train(self, part: Part) -> "list[MemberRecord] | list[Paused]":
        """Trains a part: records at the last epoch, paused members before it.

        Where memory runs out, the stack is halved, and so are later ones of its structure.
        """
        structure = part.jobs[0].structure
        # A GPU's stacks are filled up, so that fewer members don't make one smaller.
        whole = part.choice.stack_size if _on_gpu(part.jobs[0].config) else len(part.jobs)
        size = min(_smaller.get(structure, whole), whole)
        try:
            return self._train(part, size)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        _smaller[structure] = _halved(size)
        return self.train(part)

    def _train(self, part: Part, size: int) -> "list[MemberRecord] | list[Paused]":
        data, module, plan = setup(Structure.of(part.jobs[0]))
        keep_state = any(job.keep_state for job in part.jobs)
        slots = 0 if plan.device == "cpu" else size
        plan = replace(plan, execution=part.choice.mode, slots=slots, keep_state=keep_state)
        if not any(job.probed for job in part.jobs):
            plan = replace(plan, probes=())
        found: list[Any] = []
        done = 0.0

        def after_epoch(members: int, _: int) -> None:
            nonlocal done
            done += members
            self.progress(done)

        for start in self._starts(part, size, lambda members: stacks_of(module, data, members, plan)):
            training = Training(module, data, start, plan)
            training.run(part.until, partial(after_epoch, len(training.members)), self.check)
            found += training.finish() if part.last else training.pause().single()
        return found

    def _starts(self, part: Part, size: int, stacks: Callable[[Any], Any]) -> Iterator[Any]:
        """What each stack begins with."""
        paused = [start for start in part.start if isinstance(start, Paused)]
        fresh = [start for start in part.start if isinstance(start, Member)]
        for some in (paused[i : i + size] for i in range(0, len(paused), size)):
            together = len(stacks([m for p in some for m in p.members])) == 1
            yield from [some] if together else [[one] for one in some]
        for i in range(0, len(fresh), size):
            yield from stacks(fresh[i : i + size])


def train_part(part: Part, trainer: Trainer) -> "list[MemberRecord] | list[Paused]":
    """``trainer.train(part)``, as a call for a pool."""
    return trainer.train(part)
