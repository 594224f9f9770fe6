"""The usual template: Hydra multirun, one trial a job, MLflow's fluent interface, an Optuna sweeper.

Run with this folder on PYTHONPATH, for the workers, and MLFLOW_TRACKING_URI set.
"""

import hydra
from omegaconf import DictConfig
from trial import experiment, run_trial


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    return run_trial(cfg)


if __name__ == "__main__":
    experiment("template")  # before the workers start: two of them can't create a fresh store at once
    main()
