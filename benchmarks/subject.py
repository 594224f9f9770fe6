"""A process that is measured: set up and warmed once, then measured on demand.

Reads a line for each measurement and answers with a line of JSON.
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.peers import Measure
from benchmarks.shapes import SHAPES
from benchmarks.unavailable import UnavailableError

__all__ = ["Subject", "main"]


@dataclass(frozen=True)
class Subject:
    """What a process measures.

    Attributes:
        kind: plain, compiled, gemm, training or jobs.
        cores: that it may run on; () for all.
        shape: a name in ``SHAPES``; data: the shape's file.
        options: further arguments of the engine's side.
    """

    kind: str
    cores: tuple[int, ...] = ()
    shape: str = "digits"
    data: str = ""
    device: str = "cpu"
    options: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def _build(subject: Subject) -> Measure:
    import torch

    from benchmarks import engine, peers
    from benchmarks.data import load

    shape = SHAPES[subject.shape]
    if subject.kind == "jobs":  # which arranges its own threads
        return engine.jobs(shape, **subject.options)
    torch.set_num_threads(1)
    if subject.kind == "gemm":
        return peers.gemm(subject.device)
    data = load(subject.data, subject.device)
    builders: dict[str, Callable[..., Measure]] = {
        "plain": peers.plain,
        "compiled": peers.compiled,
        "training": engine.training,
    }
    return builders[subject.kind](shape, data, subject.device, **subject.options)


def _built(subject: Subject) -> Measure:
    """Raises ``UnavailableError`` also for what the lab calls a usage error."""
    try:
        return _build(subject)
    except Exception as error:
        if type(error).__name__ in ("UsageError", "RunError"):
            raise UnavailableError(str(error)) from None
        raise


def main(argument: str) -> None:
    """Serves measurements until the input ends."""
    given = json.loads(argument)
    subject = Subject(**given | {"cores": tuple(given["cores"])})
    if subject.cores:
        os.sched_setaffinity(0, subject.cores)
    # Whatever else prints does so on stderr.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    try:
        measure = _built(subject)
    except UnavailableError as error:
        print(json.dumps({"unavailable": str(error)}), file=answers)
        return
    print(json.dumps({"ready": True}), file=answers)
    for _ in sys.stdin:
        seconds, work = measure()
        print(json.dumps({"seconds": seconds, "work": work}), file=answers)


if __name__ == "__main__":
    main(sys.argv[1])
