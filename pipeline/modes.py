"""``trainer.execution``: the mode that was forced, or the one that a short trial found fastest.

What was found is kept in a file that a person can read and delete, for each network,
batch, optimiser and machine: ``execution.json`` in the cache folder.
"""

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import nn

from pipeline.dataset import Dataset
from pipeline.device import device_name, reproducible
from pipeline.errors import UsageError, in_one_line
from pipeline.execution import MODES, obstacle
from pipeline.free import is_out_of_memory
from pipeline.native import NoCompilerError, cache_folder, machine
from pipeline.notes import notes
from pipeline.plan import Member, Plan
from pipeline.train import Training, stacks_of

__all__ = ["Choice", "choose"]

# A mode must be this much faster to be preferred to an earlier one in MODES.
MARGIN = 0.95
# Members of the stacks that are tried, of the modes in which they share one.
SIZES = {"native": (64,), "compiled": (32,), "stacked": (8, 32), "loop": (1,)}
TRIAL_STEPS = 8
REPEATS = 3
# The modes of torch's take a second or two to be tried, most of it for modules that nothing else imports, and have not
# yet been faster than the kernels: they are tried where the kernels alone would train for this long.
WORTH_TRYING_S = 20.0
# torch.compile takes some twenty seconds: it is tried where training would take this long without it.
WORTH_COMPILING_S = 300.0


@dataclass(frozen=True)
class Choice:
    """How a network is trained.

    Attributes:
        mode: one of ``MODES``.
        stack_size: members of a stack, at most.
    """

    mode: str
    stack_size: int


def choose(
    forced: str, module: nn.Module, data: Dataset, members: Sequence[Member], plan: Plan, member_steps: float
) -> Choice:
    """The mode for ``module`` under ``plan``.

    Args:
        forced: one of ``MODES``, or ``auto``.
        members: some of those to be trained, to try it on.
        member_steps: how many steps of a member there will be, by which it is judged what is worth trying.

    Raises:
        UsageError: the forced mode can't train this network.
    """
    if forced != "auto":
        reason = _obstacle(forced, module, data, plan)
        if reason is None:
            return Choice(forced, max(_sizes(plan)[forced]))
        if reason != NO_COMPILER:
            raise UsageError.of("trainer.execution", forced, f"can't train this network: {reason}")
    candidates = [
        mode for mode in MODES if mode not in ("compiled", forced) and _obstacle(mode, module, data, plan) is None
    ]
    with reproducible(plan.device):
        return _measured(candidates, module, data, members, plan, member_steps)


NO_COMPILER = "no compiler"


def _obstacle(mode: str, module: nn.Module, data: Dataset, plan: Plan) -> str | None:
    try:
        return obstacle(mode, module, data.x_train[:2], plan.dtype, plan.device)
    except NoCompilerError as error:
        line = f"without the {mode} mode, which would be faster: {error}"
        if line not in notes:
            notes.append(line)
        return NO_COMPILER


def _measured(
    candidates: Sequence[str],
    module: nn.Module,
    data: Dataset,
    members: Sequence[Member],
    plan: Plan,
    member_steps: float,
) -> Choice:
    key, described = _described(module, data, plan)
    known: dict[str, float] = _read().get(key, {}).get("us_per_member_step", {})
    usable = {f"{mode} {size}" for mode, sizes in _sizes(plan).items() for size in sizes}
    times = {name: time for name, time in known.items() if name in usable}
    before = dict(times)
    for mode in candidates:
        for size in _sizes(plan)[mode]:
            if f"{mode} {size}" not in times:
                times[f"{mode} {size}"] = _time(mode, size, module, data, members, plan)
        if mode == "native" and _least(times, mode) * member_steps / 1e6 < WORTH_TRYING_S:
            break
    best = _best(times, candidates)
    long = _least(times, best.mode) * member_steps / 1e6 > WORTH_COMPILING_S
    tried = any(name.startswith("compiled") for name in times)
    if long and not tried and best.mode != "native" and _obstacle("compiled", module, data, plan) is None:
        size = _sizes(plan)["compiled"][0]
        times[f"compiled {size}"] = _compiled_time(size, module, data, members, plan)
    if times != before:
        found = {name: round(time, 2) for name, time in times.items() if math.isfinite(time)}
        _write(key, described | {"us_per_member_step": known | found})
    return _best(times, [*candidates, "compiled"])


def _sizes(plan: Plan) -> dict[str, tuple[int, ...]]:
    """Of a stack, for each mode; that of a GPU is the plan's."""
    return SIZES | {"compiled": (plan.slots,), "stacked": (plan.slots,)} if plan.slots else SIZES


def _best(times: Mapping[str, float], allowed: Sequence[str]) -> Choice:
    """The fastest; of nearly equal ones the first in ``MODES``."""
    found: Choice | None = None
    least = float("inf")
    for name in sorted(times, key=lambda name: MODES.index(name.split()[0])):
        mode, size = name.split()
        if mode in allowed and times[name] < least * MARGIN:
            found, least = Choice(mode, int(size)), times[name]
    assert found is not None
    return found


def _least(times: Mapping[str, float], mode: str) -> float:
    """Microseconds a member-step of a mode, at the size of stack that suits it best."""
    return min(time for name, time in times.items() if name.split()[0] == mode)


def _compiled_time(size: int, module: nn.Module, data: Dataset, members: Sequence[Member], plan: Plan) -> float:
    """Infinite, with a note, where torch's compiler can't do it: what can go wrong there can't be seen beforehand."""
    try:
        return _time("compiled", size, module, data, members, plan)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        notes.append(f"without the compiled mode, which failed ({in_one_line(error.__cause__ or error)})")
        return math.inf


def _time(mode: str, size: int, module: nn.Module, data: Dataset, members: Sequence[Member], plan: Plan) -> float:
    """Microseconds a member-step, the least of some trials."""
    plan = replace(plan, execution=mode, probes=(), keep_state=False)
    several = [members[i % len(members)] for i in range(size)]
    part = stacks_of(module, data, several, plan)[0]
    training = Training(module, data, part, plan)
    rows = torch.arange(TRIAL_STEPS * plan.batch_size) % len(data.x_train)
    batches = rows.reshape(1, TRIAL_STEPS, plan.batch_size).repeat(len(part), 1, 1)
    seconds = []
    for _ in range(REPEATS + 1):  # the first one warms up
        started = time.perf_counter()
        training.execution.advance(data.x_train, data.y_train, batches)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:]) / TRIAL_STEPS / len(part) * 1e6


def _described(module: nn.Module, data: Dataset, plan: Plan) -> tuple[str, dict[str, Any]]:
    """What a time depends on: a key, and the same for people."""
    described = {
        "network": " ".join(str(module).split())[:300],
        "parameters": {name: list(p.shape) for name, p in module.named_parameters()},
        "input_shape": list(data.input_shape),
        "batch_size": plan.batch_size,
        "dtype": plan.dtype,
        "device": device_name(plan.device),
        "optimizer": plan.optimizer.name,
        "torch": torch.__version__,
        "machine": next((line.split(":")[1].strip() for line in machine().splitlines() if ":" in line), ""),
    }
    full = [described, str(module), machine(), plan.optimizer.moments]
    return hashlib.sha256(json.dumps(full, sort_keys=True).encode()).hexdigest()[:16], described


def _file() -> Path:
    return cache_folder() / "execution.json"


def _read() -> dict[str, Any]:
    try:
        found = json.loads(_file().read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}  # none yet, or spoilt: measured again


def _write(key: str, entry: Mapping[str, Any]) -> None:
    """A cache that can't be written is measured again next time."""
    try:
        _file().parent.mkdir(parents=True, exist_ok=True)
        with FileLock(_file().with_suffix(".lock")):
            made = _file().with_suffix(".new")
            made.write_text(json.dumps(_read() | {key: entry}, indent=1))
            made.replace(_file())
    except OSError:
        return
