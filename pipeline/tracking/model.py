"""The winner as a registered MLflow model that takes raw inputs and gives probabilities."""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol, TypeVar

import mlflow
import mlflow.pytorch
import numpy as np
import torch
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus
from mlflow.models import Model, infer_signature
from mlflow.tracking import MlflowClient
from torch import Tensor, nn

from pipeline.data import Dataset
from pipeline.tracking.artifacts import settle_below
from pipeline.tracking.store import Store, mlflow_at

__all__ = ["register_winner"]

Result = TypeVar("Result")


class Classifier(nn.Module):
    """Standardises raw inputs as the training part was, and gives class probabilities.

    Shapes:
        ``(rows, *input_shape)`` float32 -> ``(rows, n_classes)``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, x: Tensor) -> Tensor:
        probabilities: Tensor = self.network((x - self.mean) / self.std).softmax(-1)
        return probabilities


class Patiently(Protocol):
    """Makes a call, again and again while the store is away: :meth:`~pipeline.tracking.outage.Outage.patiently`."""

    def __call__(self, call: Callable[[], Result], /) -> Result: ...


def register_winner(
    store: Store,
    run_id: str,
    name: str,
    network: nn.Module,
    state: dict[str, np.ndarray],
    data: Dataset,
    origin: Mapping[str, str],
    patiently: Patiently,
) -> str:
    """Registers ``network`` with the trained ``state`` as a version of model ``name``.

    It is saved as a ``torch.export`` program (pt2), which loads without running code from
    the file, and needs this package neither to load nor to predict. Each of its steps is
    repeated while the store is away, and makes nothing twice: neither what the attempt
    before made, nor what a process made that was killed.

    Args:
        origin: tags that tell this network from all others of the run.

    Returns:
        The model's URI, ``models:/NAME/VERSION``.
    """
    # A shared weight has one name in ``state`` and two in the network; a buffer may be in neither.
    kept = {key: torch.from_numpy(value) for key, value in state.items() if key in network.state_dict()}
    network.load_state_dict(kept, strict=False)
    model = Classifier(network, data.mean, data.std).to(torch.float32).eval()
    raw = (data.x_test[:8].cpu() * data.std + data.mean).to(torch.float32)
    client = store.client
    made = patiently(lambda: _made(store, run_id, origin))
    if made.status != LoggedModelStatus.READY:
        with TemporaryDirectory() as folder:
            _save(Path(folder) / "model", run_id, made, model, raw)
            patiently(lambda: client.log_model_artifacts(made.model_id, str(Path(folder) / "model")))
            patiently(lambda: settle_below(made.artifact_location))
        patiently(lambda: client.finalize_logged_model(made.model_id, LoggedModelStatus.READY))
    patiently(lambda: _link(client, run_id, made.model_id))
    return f"models:/{name}/{patiently(lambda: _version(store, name, made.model_id))}"


def _made(store: Store, run_id: str, origin: Mapping[str, str]) -> LoggedModel:
    """The run's model of this origin; a new one unless there is one."""
    for model in store.client.search_logged_models([store.experiment], f"source_run_id = '{run_id}'"):
        if origin.items() <= model.tags.items():
            return model
    return store.client.create_logged_model(store.experiment, "model", run_id, dict(origin))


def _save(path: Path, run_id: str, made: LoggedModel, model: nn.Module, raw: Tensor) -> None:
    """Writes the model's files."""
    with torch.no_grad():
        signature = infer_signature(raw.numpy(), model(raw).numpy())
    with _quietly():
        mlflow.pytorch.save_model(
            model,
            path,
            mlflow_model=Model(
                artifact_path=made.artifact_location, model_uuid=made.model_id, run_id=run_id, model_id=made.model_id
            ),
            signature=signature,
            input_example=raw.numpy(),
            pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", f"mlflow=={mlflow.__version__}"],
            serialization_format="pt2",
        )


def _link(client: MlflowClient, run_id: str, model_id: str) -> None:
    """Makes the model an output of the run, unless it is; MLflow refuses it the second time."""
    outputs = client.get_run(run_id).outputs
    if outputs is None or all(output.model_id != model_id for output in outputs.model_outputs):
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])


def _version(store: Store, name: str, model_id: str) -> str:
    """The version that has the model; a new one unless one has it."""
    source = f"models:/{model_id}"
    for version in store.client.search_model_versions(f"name = '{name}'"):
        if version.source == source:
            return str(version.version)
    with _quietly(), mlflow_at(store.uri):
        return str(mlflow.register_model(source, name).version)


@contextmanager
def _quietly() -> Iterator[None]:
    """torch.export and MLflow speak of their own internals here; a failure still raises."""
    logging.getLogger("torch").setLevel(logging.ERROR)
    with (
        warnings.catch_warnings(),
        redirect_stderr(io.StringIO()),
        redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield
