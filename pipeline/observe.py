"""What is looked at while a stack trains: losses, accuracies, probes, ties, divergence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline import native as kernels
from pipeline.dataset import Dataset
from pipeline.execution import Steps
from pipeline.layers import Layer
from pipeline.plan import Plan
from pipeline.probes import PROBES, Need, log_spaced, measure, needs_signals, take_snapshot
from pipeline.records import LayerLook, MemberRecord
from pipeline.stack import ROW_BLOCK, Stack
from pipeline.symmetry import chain_prediction, stack_symmetry
from pipeline.ties import TieClock
from pipeline.updates import update_ratios

__all__ = ["Observer", "Seen", "probe_batch"]


def probe_batch(data: Dataset, plan: Plan) -> tuple[Tensor, Tensor]:
    """The rows of the training part that probes look at: ``x (rows, *input_shape)``, ``y (rows,)``."""
    rows = min(plan.probe_rows, len(data.x_train))
    rows -= rows % ROW_BLOCK if rows > ROW_BLOCK else 0
    return data.x_train[:rows], data.y_train[:rows]


@dataclass(frozen=True)
class Seen:
    """What an observer knows of some members, one entry each, between two epochs."""

    records: list[MemberRecord]
    predicted: list[float]
    first_bad: Tensor
    start: dict[str, Tensor]
    clock: TieClock
    settled: bool

    def take(self, members: Sequence[int]) -> "Seen":
        """Of some of the members, in their order."""
        chosen = list(members)
        return Seen(
            [self.records[i] for i in chosen],
            [self.predicted[i] for i in chosen] if self.predicted else [],
            self.first_bad[chosen],
            {name: a[chosen] for name, a in self.start.items()},
            self.clock.take(chosen),
            self.settled,
        )

    @classmethod
    def joined(cls, parts: Sequence["Seen"], stack: Stack, layers: Sequence[Layer]) -> "Seen":
        """Of the members of several, which ``stack`` now holds in their order; what they were stays as it is."""
        return cls(
            [record.copied() for part in parts for record in part.records],
            [width for part in parts for width in part.predicted],
            torch.cat([part.first_bad for part in parts]),
            {name: torch.cat([part.start[name] for part in parts]) for name in parts[0].start},
            TieClock.joined([part.clock for part in parts], stack, layers),
            parts[0].settled,
        )


class Observer:
    """Fills one record a member. Looks at a stack, never changes it.

    Args:
        seen: what was seen before, of members that go on; without, they are at their start.
        step: how many steps they have taken.
    """

    def __init__(
        self, stack: Stack, layers: list[Layer], data: Dataset, plan: Plan, seen: Seen | None = None, step: int = 0
    ) -> None:
        self.stack, self.layers, self.data, self.plan, self.step = stack, layers, data, plan, step
        self.last_step = plan.epochs * (len(data.x_train) // plan.batch_size)
        self.probe_steps = set(log_spaced(self.last_step, plan.probe_points))
        self.update_ratio: Tensor | None = None
        self.layer_ratios: dict[str, Tensor] = {}
        self.seen = seen or self._first_look()
        self._reset_running()
        if seen is None:
            self._look_before()

    def _first_look(self) -> Seen:
        stack, count = self.stack, len(self.stack)
        symmetry = stack_symmetry(stack, self.layers, self.data.x_train[:2])
        clock = TieClock(stack, self.layers, [found.classes if found else None for found in symmetry or []])
        # Of what is trained: float32 parameters, as they are rounded.
        # Dropout breaks ties that deterministic training keeps, so that under it nothing is bound.
        bound = [] if stack.masks.places else symmetry or []
        predicted = [chain_prediction(found, self.layers).width if found else math.nan for found in bound]
        records = [MemberRecord(seed=0) for _ in range(count)]
        return Seen(records, predicted, torch.zeros(count, dtype=torch.int64), {}, clock, symmetry is not None)

    def _reset_running(self) -> None:
        zeros = torch.zeros(len(self.stack), dtype=torch.float64)
        self.running_loss, self.running_hits, self.running_rows = zeros, zeros.clone(), 0

    def _look_before(self) -> None:
        train_loss, train_accuracy = self.stack.evaluate(self.data.x_train, self.data.y_train)
        self._add("train/loss", train_loss)
        self._add("train/accuracy", train_accuracy)
        self._validate()
        self._probe()
        for i, record in enumerate(self.seen.records):
            record.init = {name: curve[0] for name, curve in record.curves.items()}
            record.init |= self._symmetry(i)

    def _symmetry(self, member: int) -> dict[str, float]:
        found = {"symmetry/broken_step": float(self.seen.clock.broken_step[member])}
        if self.seen.predicted:
            found["symmetry/predicted_width"] = self.seen.predicted[member]
        return found

    def _breaks(self, member: int) -> dict[str, float]:
        """When ties broke, which before the first step is never."""
        found = {"symmetry/first_break": float(self.seen.clock.first_break[member])}
        if self.seen.settled:
            found["symmetry/lasting_break"] = float(self.seen.clock.lasting_break[member])
        return found

    def stride(self, left: int) -> int:
        """How many of the ``left`` steps may be taken before something has to be looked at."""
        if self.seen.clock.watched and not self.stack.native:
            return 1
        due = [step - self.step for step in (1, *self.probe_steps) if step > self.step]
        return min([left, *due])

    def ties_to_watch(self) -> Sequence[kernels.Ties]:
        """For the kernels to watch in every step; nothing where ``stride`` sees to it."""
        return self.seen.clock.ties() if self.stack.native else ()

    def looks_at_updates(self, step: int) -> bool:
        """Whether the update of a step is looked at."""
        return step == 1 or step in self.probe_steps

    def after_steps(self, steps: Steps) -> None:
        """Call after every ``stride`` of steps, with what they left behind."""
        loss, taken = steps.loss.to(torch.float64), steps.loss.shape[1]
        # One after the other from the left, so that no sum depends on the stride.
        self.running_loss = torch.cat([self.running_loss[:, None], loss], 1).cumsum(1)[:, -1]
        self.running_hits += steps.hits.sum(1)
        if not self.running_loss.isfinite().all():  # which is so after the first loss that isn't
            bad = ~loss.isfinite()
            first = self.step + 1 + bad.to(torch.int8).argmax(1)  # of equals the first
            new = bad.any(1) & (self.seen.first_bad == 0)
            self.seen.first_bad[new] = first[new]
        self.step += taken
        self.running_rows += taken * self.plan.batch_size
        if steps.ties:
            self.seen.clock.saw(self.step - taken, *steps.ties)
        else:
            self.seen.clock.tick(self.step)
        if steps.updates is not None:
            self.update_ratio, self.layer_ratios = update_ratios(self.stack, steps.updates, self.layers)
            if self.step == 1:
                self._store_first_update()
        if self.step in self.probe_steps:
            self._probe()

    def after_epoch(self) -> None:
        """Call after every epoch."""
        steps = self.running_rows / self.plan.batch_size
        self._add("train/loss", self.running_loss / steps)
        accuracy = self.running_hits / self.running_rows
        self._add("train/accuracy", torch.where(self.running_loss.isfinite(), accuracy, 0.0))
        self._validate()
        self._reset_running()

    def finish(self, seeds: list[int]) -> list[MemberRecord]:
        """The records, completed with the last values and the test part's."""
        test_loss, test_accuracy = self.stack.evaluate(self.data.x_test, self.data.y_test)
        finite = self.stack.finite()
        for i, record in enumerate(self.seen.records):
            record.seed = seeds[i]
            record.final = {name: curve[max(curve)] for name, curve in record.curves.items()}
            record.final["test/loss"] = float(test_loss[i])
            record.final["test/accuracy"] = float(test_accuracy[i])
            record.final |= self._symmetry(i) | self._breaks(i)
            if self.seen.first_bad[i]:
                record.diverged_step = int(self.seen.first_bad[i])
            elif not finite[i]:
                record.diverged_step = self.step
        return self.seen.records

    def _validate(self) -> None:
        loss, accuracy = self.stack.evaluate(self.data.x_val, self.data.y_val)
        self._add("val/loss", loss)
        self._add("val/accuracy", accuracy)

    def _probe(self) -> None:
        if not self.plan.probes:
            return
        x, y = probe_batch(self.data, self.plan)
        probes = [name for name in self.plan.probes if self._due(PROBES[name].need)]
        snapshot = take_snapshot(
            self.stack,
            self.layers,
            x,
            y,
            self.update_ratio,
            layer_ratios=self.layer_ratios,
            jacobian=any(PROBES[name].need is Need.JACOBIAN for name in probes),
            signals=needs_signals(probes),
        )
        if self.step == 0 and any(PROBES[name].need is Need.START for name in probes):
            count = len(self.stack)
            self.seen.start.update({layer.name: layer.a[:count] for layer in snapshot.hidden if layer.a is not None})
        found = measure(snapshot.started_at({name: self._looked(a) for name, a in self.seen.start.items()}), probes)
        values_of = found.values[:, : len(self.stack)].T.tolist()
        for record, values in zip(self.seen.records, values_of, strict=True):
            record.add(self.step, found.of_network, values)
            record.looks.append(LayerLook(self.step, found.of_layers, values[len(found.of_network) :]))
        for name, errors in found.failed.items():
            for i, error in errors.items():
                if i < len(self.stack):
                    self.seen.records[i].failed.setdefault(name, f"{error}, at step {self.step}")

    def _looked(self, start: Tensor) -> Tensor:
        return self.stack.filled(start) if self.stack.looked > len(start) else start

    def _due(self, need: Need) -> bool:
        """What is dear is measured at the first and the last step alone."""
        return need is not Need.JACOBIAN or self.step in (0, self.last_step)

    def _store_first_update(self) -> None:
        if "signal/update_ratio" in self.plan.probes and self.update_ratio is not None:
            for record, value in zip(self.seen.records, self.update_ratio[: len(self.stack)].tolist(), strict=True):
                record.init["signal/update_ratio"] = value

    def _add(self, name: str, values: Tensor) -> None:
        for record, value in zip(self.seen.records, values.tolist(), strict=True):
            record.add(self.step, (name,), (value,))
