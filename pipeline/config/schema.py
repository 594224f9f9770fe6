"""The configuration as types with ranges. What passes here can be trained on.

The rest of the package reads these objects and knows neither OmegaConf nor Hydra.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationInfo,
    field_validator,
)

from pipeline.config.addresses import FilePath, StorageAddress, TrackingAddress
from pipeline.config.networks import ModelConfig
from pipeline.config.section import Section, one_of
from pipeline.data import SOURCES
from pipeline.init import BIASES, WEIGHTS
from pipeline.probes import PROBES, preset
from pipeline.seeds import CONFIRMATION_OFFSET, MAX_SEED
from pipeline.theory import NONLINEARITIES, SCHEME_VARIANCES

__all__ = ["Config", "OptimizerConfig", "SlurmLauncher", "TheoryConfig"]

LARGEST = 1e30  # of a scale or bias: far beyond use, and finite in float32


Question = Literal["q1", "q2", "q3", "q4", "q5", "q6", "q7", "verdict"]


class StudyConfig(Section):
    name: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")] | None
    question: Question | None


class DatasetConfig(Section):
    name: str
    path: FilePath | None
    split_seed: Annotated[int, Field(ge=0, lt=2**32)]
    val_fraction: Annotated[float, Field(gt=0, lt=1)]
    test_fraction: Annotated[float, Field(gt=0, lt=1)]
    train_limit: Annotated[int, Field(ge=2)] | None

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        return one_of(name, [*SOURCES, "npz"])


WeightName = Annotated[str, AfterValidator(lambda name: one_of(name, WEIGHTS))]
BiasName = Annotated[str, AfterValidator(lambda name: one_of(name, BIASES))]
Scale = Annotated[float, Field(ge=0, le=LARGEST)]
BiasValue = Annotated[float, Field(ge=-LARGEST, le=LARGEST)]


def _named(choice: Any) -> Any:
    """A bare name stands for ``{name: ...}``."""
    return {"name": choice} if isinstance(choice, str) else choice


class WeightChoice(Section):
    name: WeightName
    scale: Scale = 1.0


class BiasChoice(Section):
    name: BiasName
    value: BiasValue = 0.0


class WeightLayers(Section):
    """Schemes of their own for the first, the hidden and the last layers; None: as elsewhere."""

    first: Annotated[WeightChoice | None, BeforeValidator(_named)] = None
    hidden: Annotated[WeightChoice | None, BeforeValidator(_named)] = None
    last: Annotated[WeightChoice | None, BeforeValidator(_named)] = None


class BiasLayers(Section):
    """Likewise for biases."""

    first: Annotated[BiasChoice | None, BeforeValidator(_named)] = None
    hidden: Annotated[BiasChoice | None, BeforeValidator(_named)] = None
    last: Annotated[BiasChoice | None, BeforeValidator(_named)] = None


class WeightInitConfig(Section):
    name: WeightName
    scale: Scale
    layers: WeightLayers


class BiasInitConfig(Section):
    name: BiasName
    value: BiasValue
    layers: BiasLayers


class SGDConfig(Section):
    name: Literal["sgd"]
    lr: Annotated[float, Field(gt=0)]
    momentum: Annotated[float, Field(ge=0, lt=1)]
    weight_decay: Annotated[float, Field(ge=0)]


class AdamConfig(Section):
    name: Literal["adam", "adamw"]
    lr: Annotated[float, Field(gt=0)]
    beta1: Annotated[float, Field(ge=0, lt=1)]
    beta2: Annotated[float, Field(ge=0, lt=1)]
    eps: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]


OptimizerConfig = Annotated[SGDConfig | AdamConfig, Field(discriminator="name")]


class TrainerConfig(Section):
    epochs: Annotated[int, Field(ge=1, le=1_000_000)]
    batch_size: Annotated[int, Field(ge=1)]
    dtype: Literal["float32", "float64"]
    execution: Literal["auto", "native", "compiled", "stacked", "loop"]
    workers: Annotated[int, Field(ge=1, le=1024)] | None
    stack_size: Annotated[int, Field(ge=1, le=4096)] | None
    max_memory_gb: Annotated[float, Field(gt=0)] | None


class ProbesConfig(Section):
    preset: Literal["light", "standard", "full"]
    points: Annotated[int, Field(ge=2, le=1000)]
    rows: Annotated[int, Field(ge=2, le=100_000)]
    only: list[str] | None

    @field_validator("only")
    @classmethod
    def _known(cls, names: list[str] | None) -> list[str] | None:
        for name in names or []:
            if name not in PROBES:
                raise ValueError(f"no probe {name[:80]!r}; must be of {', '.join(sorted(PROBES))}")
        return names

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names of the probes to run."""
        return tuple(preset(self.preset) if self.only is None else dict.fromkeys(self.only))


class SearchConfig(Section):
    sampler: Literal["tpe", "random", "qmc", "gp", "grid"]
    n_trials: Annotated[int, Field(ge=1, le=1_000_000)]
    replicates: Annotated[int, Field(ge=1, le=CONFIRMATION_OFFSET)]
    batch: Annotated[int, Field(ge=1, le=4096)]
    history: Annotated[int, Field(ge=100, le=1_000_000)]
    objective: Literal["val/accuracy", "val/loss"]
    preflight: Literal["log", "prune"]
    min_verdict: Annotated[float, Field(ge=0, le=1)]
    pruner: Literal["none", "halving", "median", "wilcoxon"]
    min_epochs: Annotated[int, Field(ge=1)]
    reduction: Annotated[int, Field(ge=2, le=1000)]
    confirm: Annotated[int, Field(ge=0, le=1000)]
    grid_points: Annotated[int, Field(ge=1, le=1000)]
    storage: StorageAddress | None
    space: dict[str, Any]
    enqueue: list[dict[str, Any]]


class TrackingConfig(Section):
    uri: TrackingAddress | None
    dir: FilePath
    experiment: Annotated[str, Field(min_length=1, max_length=200)]
    register_winner: Annotated[bool, Field(alias="register")]
    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9.:_-]+$", max_length=253)]
    port: Annotated[int, Field(ge=1, le=65535)]
    patience_s: Annotated[float, Field(ge=0, le=1e6)]


Workers = Annotated[int, Field(ge=0, le=1024)]
Word = Annotated[str, Field(pattern=r"^[!-~]+$", max_length=200)]  # one argument of sbatch


class LocalLauncher(Section):
    """A study's own process, or workers beside it as processes of their own."""

    name: Literal["local"]
    workers: Workers


class SlurmLauncher(Section):
    """Workers as an array of Slurm jobs."""

    name: Literal["slurm"]
    workers: Annotated[Workers, Field(ge=1)]
    partition: Word | None
    account: Word | None
    qos: Word | None
    constraint: Word | None
    timeout_min: Annotated[int, Field(ge=1, le=525_600)]
    mem_gb: Annotated[float, Field(gt=0, le=1e6)] | None
    cpus_per_task: Annotated[int, Field(ge=1, le=1024)]
    gpus: Annotated[int, Field(ge=0, le=64)]
    requeue: bool
    setup: list[str]
    parameters: dict[Word, str | int | float | bool]


LauncherConfig = Annotated[LocalLauncher | SlurmLauncher, Field(discriminator="name")]


class ReportConfig(Section):
    top: Annotated[int, Field(ge=1, le=100)]
    exemplars: bool
    questions: Annotated[list[Question], Field(min_length=1)]
    answers: FilePath


class Config(Section):
    """The whole configuration; ``conf/`` holds the defaults and what each key means."""

    source: ClassVar[str] = "config"

    seed: Annotated[int, Field(ge=0, le=MAX_SEED)]
    device: Literal["cpu", "cuda", "auto"]
    allow_custom_code: bool
    study: StudyConfig
    dataset: DatasetConfig
    model: ModelConfig
    weight_init: WeightInitConfig
    bias_init: BiasInitConfig
    optimizer: OptimizerConfig
    trainer: TrainerConfig
    probes: ProbesConfig
    search: SearchConfig
    tracking: TrackingConfig
    launcher: LauncherConfig
    report: ReportConfig


class TheoryConfig(Section):
    """A point of the phase diagram, for ``initlab theory``."""

    source: ClassVar[str] = "theory"
    activation: str
    sigma_b2: Annotated[float, Field(ge=0, le=1e6)]
    sigma_w2: Annotated[float, Field(gt=0, le=1e6)] | None
    scheme: str | None
    scale: Annotated[float, Field(gt=0, le=1e3)]
    depth: Annotated[int, Field(ge=0, le=10_000)]

    @field_validator("activation")
    @classmethod
    def _known(cls, name: str) -> str:
        return one_of(name, NONLINEARITIES)

    @field_validator("scale")
    @classmethod
    def _of_a_scheme(cls, scale: float, info: ValidationInfo) -> float:
        if scale != 1 and info.data.get("scheme") is None:
            raise ValueError("multiplies a scheme's spread, so give scheme=... as well")
        return scale

    @field_validator("scheme")
    @classmethod
    def _with_a_variance(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is None:
            return None
        if info.data.get("sigma_w2") is not None:
            raise ValueError("has a sigma_w2 of its own; give one of the two")
        return one_of(name, SCHEME_VARIANCES)
