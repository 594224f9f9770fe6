"""What is looked at while a stack trains: losses, accuracies, probes, ties, divergence."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pipeline.dataset import Dataset
from pipeline.layers import Layer
from pipeline.plan import Plan
from pipeline.probes import PROBES, Need, log_spaced, measure, take_snapshot
from pipeline.records import LayerRow, MemberRecord
from pipeline.stack import ROW_BLOCK, Parameters, Stack
from pipeline.symmetry import chain_prediction, stack_symmetry
from pipeline.ties import TieClock

__all__ = ["Observer", "probe_batch", "update_ratios"]


def probe_batch(data: Dataset, plan: Plan) -> tuple[Tensor, Tensor]:
    """The rows of the training part that probes look at: ``x (rows, *input_shape)``, ``y (rows,)``."""
    rows = min(plan.probe_rows, len(data.x_train))
    rows -= rows % ROW_BLOCK if rows > ROW_BLOCK else 0
    return data.x_train[:rows], data.y_train[:rows]


class Observer:
    """Fills one record a member. Looks at a stack, never changes it."""

    def __init__(self, stack: Stack, layers: list[Layer], data: Dataset, plan: Plan) -> None:
        self.stack, self.layers, self.data, self.plan = stack, layers, data, plan
        self.records = [MemberRecord(seed=0) for _ in range(len(stack))]
        symmetry = stack_symmetry(stack, layers, data.x_train[:2])
        self.clock = TieClock(stack, layers, [found.classes if found else None for found in symmetry or []])
        self.settled = symmetry is not None
        # Of what is trained: float32 parameters, as they are rounded.
        # Dropout breaks ties that deterministic training keeps, so that under it nothing is bound.
        bound = [] if stack.masks.places else symmetry or []
        self.predicted = [chain_prediction(found, layers).width if found else math.nan for found in bound]
        steps = plan.epochs * (len(data.x_train) // plan.batch_size)
        self.probe_steps = set(log_spaced(steps, plan.probe_points))
        self.last_step = steps
        self.step = 0
        self.first_bad = torch.zeros(len(stack), dtype=torch.int64)
        self.update_ratio: Tensor | None = None
        self.layer_ratios: dict[str, Tensor] = {}
        self.start: dict[str, Tensor] = {}
        self._reset_running()
        self._look_before()

    def _reset_running(self) -> None:
        zeros = torch.zeros(len(self.stack), dtype=torch.float64)
        self.running_loss, self.running_hits, self.running_rows = zeros, zeros.clone(), 0

    def _look_before(self) -> None:
        train_loss, train_accuracy = self.stack.evaluate(self.data.x_train, self.data.y_train)
        self._add("train/loss", train_loss)
        self._add("train/accuracy", train_accuracy)
        self._validate()
        self._probe()
        for i, record in enumerate(self.records):
            record.init = {name: curve[0] for name, curve in record.curves.items()}
            record.init |= self._symmetry(i)

    def _symmetry(self, member: int) -> dict[str, float]:
        found = {"symmetry/broken_step": float(self.clock.broken_step[member])}
        if self.predicted:
            found["symmetry/predicted_width"] = self.predicted[member]
        return found

    def _breaks(self, member: int) -> dict[str, float]:
        """When ties broke, which before the first step is never."""
        found = {"symmetry/first_break": float(self.clock.first_break[member])}
        if self.settled:
            found["symmetry/lasting_break"] = float(self.clock.lasting_break[member])
        return found

    def after_step(self, loss: Tensor, logits: Tensor, y: Tensor, updates: Parameters) -> None:
        """Call after every step of the optimiser, with what it was made from."""
        self.step += 1
        count = len(self.stack)
        loss = loss[:count].detach().cpu().to(torch.float64)
        self.running_loss += loss
        self.running_hits += (logits[:count].argmax(-1) == y[:count]).sum(-1).cpu()
        self.running_rows += y.shape[1]
        bad = ~loss.isfinite() & (self.first_bad == 0)
        self.first_bad[bad] = self.step
        self.clock.tick(self.step)
        if self.step == 1 or self.step in self.probe_steps:
            self.update_ratio, self.layer_ratios = update_ratios(self.stack, updates, self.layers)
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
        for i, record in enumerate(self.records):
            record.seed = seeds[i]
            record.final = {name: curve[max(curve)] for name, curve in record.curves.items()}
            record.final["test/loss"] = float(test_loss[i])
            record.final["test/accuracy"] = float(test_accuracy[i])
            record.final |= self._symmetry(i) | self._breaks(i)
            if self.first_bad[i]:
                record.diverged_step = int(self.first_bad[i])
            elif not finite[i]:
                record.diverged_step = self.step
        return self.records

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
        )
        if self.step == 0 and any(PROBES[name].need is Need.START for name in probes):
            self.start = {layer.name: layer.a for layer in snapshot.hidden if layer.a is not None}
        found = measure(snapshot.started_at(self.start), probes)
        for record, values in zip(self.records, found.values.T.tolist(), strict=True):
            of_layers = values[len(found.of_network) :]
            for name, value in zip(found.of_network, values, strict=False):
                record.add(name, self.step, value)
            record.layers += [
                LayerRow(self.step, *of, value) for of, value in zip(found.of_layers, of_layers, strict=True)
            ]

    def _due(self, need: Need) -> bool:
        """What is dear is measured at the first and the last step alone."""
        return need is not Need.JACOBIAN or self.step in (0, self.last_step)

    def _store_first_update(self) -> None:
        if "signal/update_ratio" in self.plan.probes and self.update_ratio is not None:
            for record, value in zip(self.records, self.update_ratio.tolist(), strict=True):
                record.init["signal/update_ratio"] = value

    def _add(self, name: str, values: Tensor) -> None:
        for record, value in zip(self.records, values.tolist(), strict=True):
            record.add(name, self.step, value)


def update_ratios(stack: Stack, updates: Parameters, layers: Sequence[Layer]) -> tuple[Tensor, dict[str, Tensor]]:
    """Norm of the update over the norm of the weights it was added to, ``(S,)``; 0 if neither moved.

    Args:
        updates: what was added to the parameters as they are now.
        layers: whose weights count; those that no optimiser moves don't.

    Returns:
        Of all weights together, and of each layer by its name.
    """
    none = torch.zeros(len(stack), dtype=torch.float64)
    squares = {layer.name: (none, none) for layer in layers}
    squares |= {layer.name: _squares(stack, updates, layer) for layer in layers if layer.weight in updates}
    moved, before = (
        (sum(parts, start=none) for parts in zip(*squares.values(), strict=True)) if layers else (none, none)
    )
    return _ratio(moved, before), {name: _ratio(*parts) for name, parts in squares.items()}


def _squares(stack: Stack, updates: Parameters, layer: Layer) -> tuple[Tensor, Tensor]:
    """Squared norms of a weight's update and of the weight before it, each ``(S,)``."""
    update, after = (
        t[: len(stack)].detach().flatten(1).cpu().to(torch.float64)
        for t in (updates[layer.weight], stack.parameters[layer.weight])
    )
    return update.square().sum(1), (after - update).square().sum(1)


def _ratio(moved: Tensor, before: Tensor) -> Tensor:
    return torch.where(moved == 0, 0.0, (moved / before).sqrt())
