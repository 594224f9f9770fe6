"""From configurations to trained members: groups what can share a stack, and runs it."""

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache

import torch

from pipeline.config import Config, SGDConfig, build_model, flatten, plain
from pipeline.data import Dataset
from pipeline.device import reproducible, resolve_device
from pipeline.errors import UsageError, in_one_line
from pipeline.execution import obstacle
from pipeline.init import ROLES, InitSpec
from pipeline.layers import trace_layers
from pipeline.loading import load_dataset, placed_dataset
from pipeline.memory import check_room
from pipeline.models import MLP
from pipeline.native import NoCompilerError
from pipeline.observe import probe_batch
from pipeline.optim import OptimizerSpec
from pipeline.plan import Member, Plan
from pipeline.records import Verdict
from pipeline.stack import Stack, slot_independent
from pipeline.train import build_stack, with_starts
from pipeline.verdict import Budget, Signs, judge, read_signs

__all__ = [
    "Job",
    "Structure",
    "by_structure",
    "check",
    "drawn",
    "look_ahead",
    "member_of",
    "network",
    "plan_of",
    "setup",
    "verdicts",
]

# What members of one stack may differ in; any other key decides the structure.
NUMERIC = ("weight_init.", "bias_init.", "optimizer.lr", "optimizer.weight_decay", "seed")
# Adam's step doesn't grow with the gradient. Its verdicts count it as SGD at the rate at
# which they ranked trials best: 0.5 for Adam's usual lr of 0.001.
ADAM_RATE = 500.0
JUDGED_AT_ONCE = 32
IRRELEVANT = ("study.", "search.", "tracking.", "launcher.", "report.", "allow_custom_code")
# How it is computed, which is settled for each structure (``pipeline.parts``).
COMPUTING = ("trainer.execution", "trainer.workers", "trainer.stack_size", "trainer.max_memory_gb")


@dataclass(frozen=True)
class Job:
    """One network to train: a configuration, and the seed of this replicate.

    Attributes:
        keep_state: whether its parameters after training are wanted.
        probed: whether it is measured on the way, and not only at its end.
    """

    config: Config
    seed: int
    keep_state: bool = field(default=False, kw_only=True)
    probed: bool = field(default=True, kw_only=True)

    def on_cpu(self) -> "Job":
        """The same network, on the CPU."""
        on_cpu = resolve_device(self.config.device) == "cpu"
        return self if on_cpu else replace(self, config=self.config.model_copy(update={"device": "cpu"}))

    @cached_property
    def structure(self) -> str:
        """Equal for jobs that can be trained as one stack."""
        flat = flatten(plain(self.config))
        kept = {k: v for k, v in flat.items() if not k.startswith(NUMERIC + IRRELEVANT + COMPUTING)}
        return json.dumps(kept, sort_keys=True)


def by_structure(jobs: Sequence[Job]) -> list[list[int]]:
    """The places of the jobs that can share a stack, structure by structure."""
    groups: dict[str, list[int]] = {}
    for i, job in enumerate(jobs):
        groups.setdefault(job.structure, []).append(i)
    return list(groups.values())


def drawn(jobs: Sequence[Job]) -> list[Member]:
    """The network of each job with its parameters at the start."""
    members: dict[int, Member] = {}
    for group in by_structure(jobs):
        data, module, _ = setup(Structure.of(jobs[group[0]]))
        members |= zip(group, with_starts([member_of(jobs[i]) for i in group], module, data), strict=True)
    return [members[i] for i in range(len(jobs))]


def verdicts(jobs: Sequence[Job]) -> list[Verdict]:
    """What can be said of each job before it is trained; one verdict a job, in their order."""
    return [verdict for _, verdict in look_ahead(jobs)]


def look_ahead(jobs: Sequence[Job], members: Sequence[Member] | None = None) -> list[tuple[Signs, Verdict]]:
    """The verdict on each job, with the signs that it rests on: on the CPU, so that it is the same beside a GPU.

    Args:
        members: the networks of the jobs, where they are drawn already.
    """
    jobs = [job.on_cpu() for job in jobs]
    members = members or drawn(jobs)
    found: dict[int, tuple[Signs, Verdict]] = {}
    for group in by_structure(jobs):
        for part in (group[i : i + JUDGED_AT_ONCE] for i in range(0, len(group), JUDGED_AT_ONCE)):
            signs = _signs(jobs[part[0]], [members[i] for i in part])
            found |= {i: (of, judge(of, _budget(jobs[i].config))) for i, of in zip(part, signs, strict=True)}
    return [found[i] for i in range(len(jobs))]


def _signs(job: Job, members: Sequence[Member]) -> list[Signs]:
    """The signs of networks of one structure at their start, in a stack where that changes no bit of them."""
    structure = Structure.of(job)
    data, module, plan = setup(structure)
    if _by_kernels(structure):
        plan = replace(plan, execution="native")
    together = [members] if slot_independent(module) else [[member] for member in members]
    x, y = probe_batch(data, plan)
    layers = trace_layers(copy.deepcopy(module).to(plan.device, plan.torch_dtype), x[:2])
    with reproducible():
        stacks = (build_stack(module, part, data, plan) for part in together)
        return [signs for stack in stacks for signs in read_signs(stack, layers, x, y, data.n_classes)]


@lru_cache(maxsize=8)
def _by_kernels(of: "Structure") -> bool:
    """Whether the lab's kernels can look at a network: much faster, and the same but for round-off."""
    data, module, plan = setup(of)
    try:
        return obstacle("native", module, data.x_train[:2], plan.dtype, plan.device) is None
    except NoCompilerError:
        return False


def _budget(config: Config) -> Budget:
    """Steps and effective rate of a training."""
    optimizer, trainer = config.optimizer, config.trainer
    steps = trainer.epochs * (len(load_dataset(config).x_train) // trainer.batch_size)
    momentum = optimizer.momentum if isinstance(optimizer, SGDConfig) else 0.0
    unit = 1.0 if isinstance(optimizer, SGDConfig) else ADAM_RATE
    return Budget(steps, unit * optimizer.lr / (1 - momentum))


@dataclass(frozen=True)
class Structure:
    """A configuration, equal to all others whose networks can share its stack."""

    key: str
    config: Config = field(compare=False)

    @classmethod
    def of(cls, job: Job) -> "Structure":
        return cls(job.structure, job.config)


@lru_cache(maxsize=16)  # twice as many as structures: of each another one on a GPU, for its verdicts
def setup(of: Structure) -> tuple[Dataset, torch.nn.Module, Plan]:
    """Data on the device, the network's structure, and the plan that a stack shares."""
    plan = plan_of(of.config)
    data = load_dataset(of.config)
    module = check(of.config, data)
    return placed_dataset(of.config, plan.device, plan.torch_dtype), module, plan


def check(config: Config, data: Dataset) -> torch.nn.Module:
    """The network, once everything that could be wrong with a run has been looked at."""
    resolve_device(config.device)
    if config.trainer.batch_size > len(data.x_train):
        allowed = f"must be at most the {len(data.x_train)} training rows of {data.name}"
        raise UsageError.of("trainer.batch_size", config.trainer.batch_size, allowed)
    module = network(config, data)
    if type(module) is MLP:  # known to go; torch.func takes seconds to be imported, which the kernels don't need
        return module
    try:
        states = [{name: p.detach() for name, p in module.named_parameters()}] * 2
        stack = Stack(module, states, torch.float32, 2)
        stack.gradients(
            data.x_train[:2].expand(stack.size, 2, *data.input_shape), data.y_train[:2].expand(stack.size, 2)
        )
    except UsageError:
        raise
    except Exception as error:  # torch.func can't follow everything that a forward may do
        raise UsageError.of(
            "model._target_", config.model.target, f"can't be trained as a stack ({in_one_line(error)})"
        ) from None
    return module


def network(config: Config, data: Dataset) -> torch.nn.Module:
    """The network of a configuration, checked on two rows of its data."""
    target, arguments = config.model.target, (config.model, data.input_shape, data.n_classes, data.image_shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # what no scheme sets is the same for every member, whatever its seed
        if target.startswith("pipeline.models."):
            with torch.device("meta"):  # without memory, to see how much it would be
                check_room(build_model(*arguments), _sizes(config))
        module = build_model(*arguments)
    if not isinstance(module, torch.nn.Module):
        raise UsageError.of("model._target_", target, f"makes a {type(module).__name__}, not a torch.nn.Module")
    if not any(p.requires_grad for p in module.parameters()):
        raise UsageError.of("model._target_", target, "has no parameters to train")
    try:
        with torch.no_grad():
            shape = tuple(module.eval()(data.x_train[:2]).shape)
    except Exception as error:  # a user's network may raise anything
        raise UsageError.of(
            "model._target_", target, f"fails on inputs {data.input_shape} ({in_one_line(error)})"
        ) from None
    if shape != (2, data.n_classes):
        allowed = f"must give logits (rows, {data.n_classes}), gives {shape} for 2 rows"
        raise UsageError.of("model._target_", target, allowed)
    return module


def _sizes(config: Config) -> str:
    """What of a network's keys are numbers, for people."""
    keys = config.model.model_dump(by_alias=True).items()
    return ", ".join(
        f"model.{key}={value}" for key, value in keys if isinstance(value, int) and not isinstance(value, bool)
    )


def member_of(job: Job) -> Member:
    """What the network of a job doesn't share with its stack."""
    weight, bias, optimizer = job.config.weight_init, job.config.bias_init, job.config.optimizer
    init = InitSpec(
        weight.name,
        weight.scale,
        bias.name,
        bias.value,
        {role: (w.name, w.scale) for role in ROLES if (w := getattr(weight.layers, role)) is not None},
        {role: (b.name, b.value) for role in ROLES if (b := getattr(bias.layers, role)) is not None},
    )
    return Member(job.seed, init, optimizer.lr, optimizer.weight_decay)


def plan_of(config: Config) -> Plan:
    """What a configuration shares with the others of its stack, with every probe."""
    shared = config.optimizer.model_dump(exclude={"lr", "weight_decay"})
    return Plan(
        epochs=config.trainer.epochs,
        batch_size=config.trainer.batch_size,
        optimizer=OptimizerSpec(**shared),
        dtype=config.trainer.dtype,
        device=resolve_device(config.device),
        probes=config.probes.chosen,
        probe_points=config.probes.points,
        probe_rows=config.probes.rows,
    )
