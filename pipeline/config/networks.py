"""The networks that can be configured: those that ship with the lab, and any other."""

from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag

from pipeline.activations import ACTIVATIONS
from pipeline.config.section import Section, one_of
from pipeline.models import POOLINGS

__all__ = ["TARGETS", "CNNModel", "CustomModel", "MLPModel", "ModelConfig"]

TARGETS = {"mlp": "pipeline.models.MLP", "cnn": "pipeline.models.CNN"}

Target = Annotated[str, Field(alias="_target_")]
ActivationName = Annotated[str, AfterValidator(lambda name: one_of(name, ACTIVATIONS))]
PoolingName = Annotated[str, AfterValidator(lambda name: one_of(name, POOLINGS))]
DropoutShare = Annotated[float, Field(ge=0, lt=1)]


class MLPModel(Section):
    target: Target
    depth: Annotated[int, Field(ge=1, le=1000)]
    width: Annotated[int, Field(ge=1, le=100_000)]
    activation: ActivationName
    dropout: DropoutShare


class CNNModel(Section):
    target: Target
    depth: Annotated[int, Field(ge=1, le=16)]
    width: Annotated[int, Field(ge=1, le=10_000)]
    convs: Annotated[int, Field(ge=1, le=1000)]
    activation: ActivationName
    pooling: PoolingName
    hidden: Annotated[int, Field(ge=0, le=100_000)]
    dropout: DropoutShare


class CustomModel(Section):
    """Any importable ``torch.nn.Module``; its other keys are its constructor's arguments."""

    model_config = ConfigDict(frozen=True, extra="allow", strict=True)
    target: Target


def _model_kind(model: Any) -> str:
    target = model.get("_target_") if isinstance(model, dict) else getattr(model, "target", None)
    return next((kind for kind, known in TARGETS.items() if target == known), "custom")


ModelConfig = Annotated[
    Annotated[MLPModel, Tag("mlp")] | Annotated[CNNModel, Tag("cnn")] | Annotated[CustomModel, Tag("custom")],
    Discriminator(_model_kind),
]
