"""Four networks to look at: what zero, constant, tied and good inits do to the first layer.

Their weights, and how alike its units are, before training and after it, as arrays for the
report's pictures.
"""

import copy
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from pipeline.config import Config, with_values
from pipeline.dataset import Dataset
from pipeline.device import reproducible
from pipeline.layers import Recorder, trace_layers
from pipeline.observe import probe_batch
from pipeline.records import MemberRecord
from pipeline.runner import Job, Structure, drawn, setup

__all__ = ["EXEMPLARS", "Exemplar", "exemplar_jobs", "exemplars_of", "from_bytes", "to_bytes"]

UNITS, SHOWN = 64, 16
"""Units whose likeness is kept, and units whose weights are."""

# What each sets besides the winner's configuration. Constants are of the size of LeCun's
# weights for a fan-in of 100.
EXEMPLARS: Mapping[str, Mapping[str, object]] = {
    "zero": {"weight_init.name": "zeros", "bias_init.name": "zeros"},
    "constant": {"weight_init.name": "constant", "weight_init.scale": 0.1, "bias_init.name": "zeros"},
    "tied": {"weight_init.name": "tied", "weight_init.scale": 1.0, "bias_init.name": "zeros"},
    "best": {},
}


@dataclass(frozen=True)
class Exemplar:
    """The first hidden layer of one network.

    Attributes:
        weights: incoming weights of some units, ``(units, *shape of one unit)``: before training, after it.
        alike: |correlation| of the activations of each two units over the probe batch; constant
            units count as alike with each other.
        accuracy: on the test part, after training.
    """

    name: str
    weights: tuple[np.ndarray, np.ndarray]
    alike: tuple[np.ndarray, np.ndarray]
    accuracy: float


def exemplar_jobs(config: Config) -> list[Job]:
    """The networks to train, under the study's own seed."""
    blank = {f"{kind}_init.layers.{role}": None for kind in ("weight", "bias") for role in ("first", "hidden", "last")}
    configs = [with_values(config, {**blank, **own}) if own else config for own in EXEMPLARS.values()]
    return [Job(own, config.seed, keep_state=True, probed=False) for own in configs]


def exemplars_of(jobs: Sequence[Job], records: Sequence[MemberRecord], data: Dataset) -> list[Exemplar]:
    """What is to be seen of the trained networks of these jobs."""
    found = []
    for name, job, member, record in zip(EXEMPLARS, jobs, drawn(jobs), records, strict=True):
        if record.state is None or member.start is None:
            continue
        trained = {key: torch.from_numpy(value) for key, value in record.state.items()}
        with reproducible():
            before, after = (_first_layer(job, data, state) for state in (member.start, trained))
        if before is not None and after is not None:
            weights, alike = zip(before, after, strict=True)
            found.append(Exemplar(name, weights, alike, record.final.get("test/accuracy", float("nan"))))
    return found


def _first_layer(job: Job, data: Dataset, state: Mapping[str, Tensor]) -> tuple[np.ndarray, np.ndarray] | None:
    """Weights and likeness of the units of the first hidden layer; None if the network has none."""
    _, module, plan = setup(Structure.of(job))
    module = copy.deepcopy(module).cpu().double()
    x, _ = probe_batch(data, plan)
    x = x.double()
    layers = [layer for layer in trace_layers(module, x[:2]) if layer.hidden]
    if not layers:
        return None
    first = layers[0]
    parameters = {name: state[name].double() for name, _ in module.named_parameters()}
    recorder = Recorder(module, [first.name])
    with torch.no_grad(), recorder.recording() as calls:
        functional_call(module, parameters, (x,))
    z = calls[0][2]
    # Positions of a feature map count as samples.
    units = z.flatten(2).transpose(0, 1).flatten(1) if z.ndim > 2 else z.T
    assert first.activation is not None
    a = first.activation.module()(units[:UNITS]).numpy()
    weight = parameters[first.weight][:SHOWN].numpy()
    shape = data.image_shape
    if weight.ndim == 2 and shape is not None and weight.shape[1] == np.prod(shape):
        weight = weight.reshape(-1, *shape)
    return weight.astype(np.float32), _alike(a).astype(np.float32)


def _alike(a: np.ndarray) -> np.ndarray:
    """|correlation| of rows; 1 between constant ones, 0 between a constant one and another."""
    centred = a - a.mean(1, keepdims=True)
    size = np.sqrt((centred**2).sum(1))
    constant = size <= 1e-12 * np.maximum(1.0, np.abs(a).max(1)) * np.sqrt(a.shape[1])
    unit = centred / np.where(constant, 1.0, size)[:, None]
    found: np.ndarray = np.minimum(np.abs(unit @ unit.T), 1.0)
    found[constant] = found[:, constant] = 0.0
    found[np.ix_(constant, constant)] = 1.0
    return found


def to_bytes(exemplars: Sequence[Exemplar]) -> bytes:
    """An ``.npz``."""
    arrays: dict[str, np.ndarray] = {}
    for own in exemplars:
        for i, when in enumerate(("before", "after")):
            arrays[f"{own.name}/{when}/weights"], arrays[f"{own.name}/{when}/alike"] = own.weights[i], own.alike[i]
        arrays[f"{own.name}/accuracy"] = np.array(own.accuracy)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def from_bytes(content: bytes) -> list[Exemplar]:
    """What ``to_bytes`` wrote."""
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return [
            Exemplar(
                name,
                (arrays[f"{name}/before/weights"], arrays[f"{name}/after/weights"]),
                (arrays[f"{name}/before/alike"], arrays[f"{name}/after/alike"]),
                float(arrays[f"{name}/accuracy"]),
            )
            for name in EXEMPLARS
            if f"{name}/accuracy" in arrays
        ]
