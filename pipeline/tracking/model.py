"""The winner as a registered MLflow model that takes raw inputs and gives probabilities."""

import io
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout

import mlflow
import mlflow.pytorch
import numpy as np
import torch
from mlflow.models import infer_signature
from torch import Tensor, nn

from pipeline.data import Dataset
from pipeline.tracking.store import Store, mlflow_at

__all__ = ["register_winner"]


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


def register_winner(
    store: Store, run_id: str, name: str, network: nn.Module, state: dict[str, np.ndarray], data: Dataset
) -> str:
    """Registers ``network`` with the trained ``state`` as a new version of model ``name``.

    It is saved as a ``torch.export`` program (pt2), which loads without running code from
    the file, and needs this package neither to load nor to predict.

    Returns:
        The model's URI, ``models:/NAME/VERSION``.
    """
    # A shared weight has one name in ``state`` and two in the network; a buffer may be in neither.
    kept = {key: torch.from_numpy(value) for key, value in state.items() if key in network.state_dict()}
    network.load_state_dict(kept, strict=False)
    model = Classifier(network, data.mean, data.std).to(torch.float32).eval()
    raw = (data.x_test[:8].cpu() * data.std + data.mean).to(torch.float32)
    with torch.no_grad():
        signature = infer_signature(raw.numpy(), model(raw).numpy())
    logging.getLogger("torch").setLevel(logging.ERROR)
    # torch.export and MLflow speak of their own internals here; a failure still raises.
    with (
        mlflow_at(store.uri),
        warnings.catch_warnings(),
        redirect_stderr(io.StringIO()),
        redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        with mlflow.start_run(run_id=run_id):
            info = mlflow.pytorch.log_model(
                model,
                name="model",
                signature=signature,
                input_example=raw.numpy(),
                registered_model_name=name,
                pip_requirements=[f"torch=={torch.__version__.split('+')[0]}", f"mlflow=={mlflow.__version__}"],
                serialization_format="pt2",
            )
    return f"models:/{name}/{info.registered_model_version}"
