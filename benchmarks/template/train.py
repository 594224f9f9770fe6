"""The usual template: Hydra multirun, one trial a job, MLflow's fluent interface, an Optuna sweeper."""

import os
from functools import lru_cache

import hydra
import mlflow
from omegaconf import DictConfig
from training import train


@lru_cache(maxsize=1)
def experiment(name: str) -> str:
    """The experiment, looked up once in each worker."""
    return mlflow.set_experiment(name).experiment_id


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    metrics: dict[str, float] = {}
    with mlflow.start_run(experiment_id=experiment(cfg.experiment)):
        mlflow.log_params({key: cfg[key] for key in ("weight_scale", "bias_value", "epochs", "batch_size", "lr")})
        for epoch, metrics in enumerate(train(cfg)):
            mlflow.log_metrics(metrics, step=epoch)
    return metrics["val/accuracy"]


if __name__ == "__main__":
    # Before the workers start: two of them can't create a fresh store at once.
    if os.environ.get("MLFLOW_TRACKING_URI"):
        experiment("template")
    main()
