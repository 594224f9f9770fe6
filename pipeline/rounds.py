"""What a core does for a stack of trials at once: judges those at their start, trains all to their next stop."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.modes import Choice
from pipeline.parts import Part, Trainer
from pipeline.paused import Paused
from pipeline.records import MemberRecord, Verdict
from pipeline.runner import Job, drawn, look_ahead, member_of
from pipeline.verdict import typical

__all__ = ["Leg", "Outcome", "run_round"]


@dataclass(frozen=True)
class Leg:
    """What is to be done for a trial.

    Attributes:
        jobs: its replicates. round: which of them are to be trained; none: it is only judged.
        fresh: whether it is to be judged first.
        paused: those of the round that are on their way already.
    """

    jobs: Sequence[Job]
    round: Sequence[int]
    fresh: bool
    paused: Sequence[Paused]


@dataclass
class Outcome:
    """What was done: the verdict, and replicates that are paused or, at their end, records."""

    verdict: Verdict | None = None
    paused: list[Paused] = field(default_factory=list)
    records: list[MemberRecord] = field(default_factory=list)


def run_round(legs: Sequence[Leg], until: int, last: bool, choice: Choice, trainer: Trainer) -> list[Outcome]:
    """One outcome a leg.

    Args:
        until: the epoch to which they are trained. last: whether they end there.
    """
    outcomes = [Outcome() for _ in legs]
    fresh = [job for leg in legs if leg.fresh for job in leg.jobs]
    members = drawn(fresh)
    judged = iter(zip(members, look_ahead(fresh, members), strict=True))  # all at once, which is faster
    start: list[Any] = []
    for leg, outcome in zip(legs, outcomes, strict=True):
        own = [next(judged) for _ in leg.jobs] if leg.fresh else []
        if own:
            outcome.verdict = typical([verdict for _, (_, verdict) in own])
        start += leg.paused or [own[k][0] if own else member_of(leg.jobs[k]) for k in leg.round]
    jobs = [leg.jobs[k] for leg in legs for k in leg.round]
    if jobs:
        found = iter(trainer.train(Part(jobs, until, start, last=last, choice=choice)))
        for leg, outcome in zip(legs, outcomes, strict=True):
            trained: list[Any] = [next(found) for _ in leg.round]
            outcome.records, outcome.paused = (trained, []) if last else ([], trained)
    return outcomes
