"""Tables of trials as MLflow holds them, of made-up numbers."""

import numpy as np
import pandas as pd


class Runs:
    """Stored trials of a study over scale, bias value and two arms."""

    objective = "val/accuracy"

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(count)
        accuracy = rng.integers(20, 100, count) / 100
        self.trials = pd.DataFrame(
            {
                "trial": range(count),
                "run_id": [f"r{i}" for i in range(count)],
                "title": [f"t{i}" for i in range(count)],
                "params.weight_init.scale": [str(10**x) for x in rng.uniform(-3, 1, count)],
                "params.bias_init.value": [str(x) for x in rng.uniform(-2, 2, count)],
                "params.arm": rng.choice(["a", "b"], count),
                "metrics.val/accuracy": accuracy,
                "metrics.search/objective": accuracy,
                "metrics.spread/val/accuracy": 0.01,
                "metrics.health/diverged_replicates": rng.integers(0, 2, count).astype(float),
                "metrics.init/saturation/flat_fraction": np.where(rng.random(count) < 0.1, np.nan, rng.random(count)),
                "metrics.init/redundancy/effective_width": rng.random(count),
            }
        )
