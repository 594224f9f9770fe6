"""Rows of training alone: member-steps a second, on one core, on two, on a GPU."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from benchmarks.data import data_file, overrides
from benchmarks.engine import MODES
from benchmarks.group import Context, Group
from benchmarks.result import Measured, Target, ratios
from benchmarks.shapes import SHAPES
from benchmarks.sides import cores, in_turn
from benchmarks.subject import Subject
from benchmarks.unavailable import UnavailableError

__all__ = ["GPU_GROUPS", "GROUPS"]

ROUNDS = 7
MANY_ROUNDS = 31  # of a small difference between two large times
AUTO_ROUNDS = 15  # of what is often the same program on both sides
SGEMM = "sgemm is torch's product of matrices of side 1,024; above 1 where the kernels outdo its BLAS"
LAB, EAGER, COMPILED = "lab", "(a)", "(b)"


def _subjects(context: Context, shape: str, device: str, **extra: Subject) -> dict[str, list[Subject]]:
    """The lab and both peers on one core, or on the GPU."""
    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UnavailableError("no CUDA device is here")
    data = str(data_file(SHAPES[shape], context.mnist))
    core = cores(1)
    kinds = {LAB: "training", EAGER: "plain", COMPILED: "compiled"}
    found = {name: [Subject(kind, core, shape, data, device)] for name, kind in kinds.items()}
    return found | {name: [subject] for name, subject in extra.items()}


def _microseconds(rates: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {f"{name}, us a member-step": 1e6 / statistics.median(found) for name, found in rates.items()}


def _digits(context: Context, device: str, prefix: str) -> dict[str, Measured]:
    """Against the plain loop, against the compiled one, and against the hardware."""
    gemm = Subject("gemm", cores(1), device=device)
    rates = in_turn(_subjects(context, "digits", device, sgemm=gemm), context.rounds(ROUNDS), context)
    hardware = rates.pop("sgemm")
    flops = SHAPES["digits"].flops
    detail = _microseconds(rates)
    shares = [rate * flops / peak for rate, peak in zip(rates[LAB], hardware, strict=True)]
    peak = {"sgemm, GFLOP/s": statistics.median(hardware) / 1e9, "a step, MFLOP": flops / 1e6}
    return {
        f"{prefix}digits": Measured(ratios(rates[LAB], rates[EAGER]), detail),
        f"{prefix}digits-compiled": Measured(ratios(rates[LAB], rates[COMPILED]), detail),
        f"{prefix}digits-sgemm": Measured(shares, detail | peak, SGEMM),
    }


def _better(context: Context, shape: str, device: str, prefix: str) -> dict[str, Measured]:
    """Against whichever peer is faster by its median."""
    rates = in_turn(_subjects(context, shape, device), context.rounds(5), context)
    peer = max((EAGER, COMPILED), key=lambda name: statistics.median(rates[name]))
    remark = f"the better peer is {peer}"
    return {f"{prefix}{shape}": Measured(ratios(rates[LAB], rates[peer]), _microseconds(rates), remark)}


def _two_cores(context: Context) -> dict[str, Measured]:
    """The lab on two cores against two processes of (a), and against the lab on one core."""
    data = str(data_file(SHAPES["digits"], context.mnist))
    both = cores(2)
    keys = overrides(SHAPES["digits"], context.mnist)
    sides = {
        "lab on two": [Subject("jobs", both, options={"overrides": keys, "workers": 2})],
        "lab on one": [Subject("jobs", both[:1], options={"overrides": keys, "workers": 1})],
        "(a) on two": [Subject("plain", (core,), "digits", data) for core in both],
    }
    rates = in_turn(sides, context.rounds(ROUNDS), context)
    detail = _microseconds(rates)
    return {
        "digits-two-cores": Measured(ratios(rates["lab on two"], rates["(a) on two"]), detail),
        "cores": Measured(ratios(rates["lab on two"], rates["lab on one"]), detail),
    }


def _probes(context: Context) -> dict[str, Measured]:
    """Whole trainings of 20 epochs with the standard probes and without."""
    data = str(data_file(replace(SHAPES["digits"], overrides=()), context.mnist))  # with its whole validation part
    sides = {
        name: [Subject("training", cores(1), "digits", data, options={"probes": probes})]
        for name, probes in (("with probes", True), ("without", False))
    }
    rates = in_turn(sides, context.rounds(MANY_ROUNDS), context)
    shares = [1 - with_probes / without for with_probes, without in zip(*rates.values(), strict=True)]
    added = statistics.median(share / (1 - share) for share in shares)
    return {"probes": Measured(shares, _microseconds(rates) | {"added to the time without": added})}


def _auto(context: Context, shape: str, device: str, prefix: str) -> dict[str, Measured]:
    """``execution=auto`` against the forced mode that is fastest by its median."""
    everyone = _subjects(context, shape, device)
    (subject,) = everyone[LAB]
    names = ("auto", *MODES)
    sides = {
        name: [Subject("training", subject.cores, shape, subject.data, device, {"execution": name})] for name in names
    }
    rates = in_turn(sides, context.rounds(AUTO_ROUNDS), context, optional=MODES)
    if len(rates) == 1:
        raise UnavailableError("no mode can be forced on this network")
    best = max((name for name in rates if name != "auto"), key=lambda name: statistics.median(rates[name]))
    missing = [name for name in MODES if name not in rates]
    remark = f"the best forced mode is {best}" + (f"; not to be had here: {', '.join(missing)}" if missing else "")
    values = ratios(rates["auto"], rates[best])
    return {f"{prefix}auto-{shape}": Measured(values, _microseconds(rates), remark)}


def _groups(device: str, prefix: str, where: str) -> tuple[Group, ...]:
    """The rows that there are for any device."""

    def group(measure: Callable[..., Mapping[str, Measured]], *targets: Target, shape: str = "") -> Group:
        arguments = {"device": device, "prefix": prefix} | ({"shape": shape} if shape else {})
        return Group(targets, partial(measure, **arguments))

    digits = f"member-steps/s {where}, digits, MLP 64-64-64-10 tanh, batch 64, probes off"
    better = f"{where}, against the better of (a) and (b)"
    return (
        group(
            _digits,
            Target(f"{prefix}digits", f"{digits}, against (a) a plain loop", 5.0),
            Target(f"{prefix}digits-compiled", f"{digits}, against (b) the compiled loop"),
            Target(f"{prefix}digits-sgemm", f"{digits}: share of the rate of sgemm", 0.70, unit=""),
        ),
        group(
            _better,
            Target(f"{prefix}mnist", f"MLP 784-256-256-10 tanh, MNIST, batch 128, {better}", 1.0),
            shape="mnist",
        ),
        group(
            _better,
            Target(f"{prefix}cnn", f"CNN (two 3x3 convolutions, pooling), MNIST, batch 128, {better}", 1.0),
            shape="cnn",
        ),
        *(
            group(
                _auto, Target(f"{prefix}auto-{shape}", f"auto against the best forced mode, {shape}", 0.95), shape=shape
            )
            for shape in SHAPES
        ),
    )


_TWO = Group(
    (
        Target("digits-two-cores", "the same on two cores, against one process of (a) on each", 5.0),
        Target("cores", "the lab on two cores against the lab on one, the same member-steps", 1.8),
    ),
    _two_cores,
)
_PROBES = Group(
    (
        Target(
            "probes",
            "the standard probes' share of the time of a training of 20 epochs on digits, one core",
            0.15,
            at_most=True,
            unit="",
        ),
    ),
    _probes,
)
_CPU = _groups("cpu", "", "on one core")
GROUPS: tuple[Group, ...] = (_CPU[0], _TWO, *_CPU[1:3], _PROBES, *_CPU[3:])
GPU_GROUPS: tuple[Group, ...] = _groups("cuda", "gpu-", "on the GPU")
