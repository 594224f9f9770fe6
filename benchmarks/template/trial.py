"""A trial: one MLflow run, its metrics logged as the epochs go by. Imported, so that workers keep what is cached."""

from functools import lru_cache

import mlflow
from omegaconf import DictConfig
from training import train

PARAMS = ("weight_scale", "bias_value", "epochs", "batch_size", "lr")


@lru_cache(maxsize=1)
def experiment(name: str) -> str:
    """The experiment, looked up once in each worker."""
    return mlflow.set_experiment(name).experiment_id


def run_trial(cfg: DictConfig) -> float:
    """Trains, logs, and returns the validation accuracy at the end."""
    metrics: dict[str, float] = {}
    with mlflow.start_run(experiment_id=experiment(cfg.experiment)):
        mlflow.log_params({key: cfg[key] for key in PARAMS})
        for epoch, metrics in enumerate(train(cfg)):
            mlflow.log_metrics(metrics, step=epoch)
    return metrics["val/accuracy"]
