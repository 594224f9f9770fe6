"""How much each axis of a search matters to its result."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

from pipeline.search.view import view

__all__ = ["FEWEST_FOR_IMPORTANCE", "importances"]

FEWEST_FOR_IMPORTANCE = 20
"""With fewer trials the estimate is chance."""


def importances(trials: pd.DataFrame, axes: Sequence[str], minimize: bool) -> dict[str, float]:
    """The share of each axis in what tells good trials from others, the largest first; they sum to 1.

    PED-ANOVA (Watanabe et al. 2023, "PED-ANOVA: efficiently quantifying hyperparameter
    importance in arbitrary subspaces"), which compares where the best tenth of the trials lies
    with where all lie. Empty with fewer than ``FEWEST_FOR_IMPORTANCE`` trials or one axis.

    Args:
        trials: rows with ``params.KEY`` and ``metrics.search/objective``.
    """
    known = trials.dropna(subset=["metrics.search/objective"])
    varied = [key for key in axes if known[f"params.{key}"].nunique() > 1]
    if len(known) < FEWEST_FOR_IMPORTANCE or len(varied) < 2:
        return {}
    columns = {key: _column(known[f"params.{key}"]) for key in varied}
    distributions = {key: distribution for key, (_, distribution) in columns.items()}
    frozen = [
        optuna.trial.create_trial(
            value=float(value),
            params={key: values[i] for key, (values, _) in columns.items()},
            distributions=dict(distributions),
        )
        for i, value in enumerate(known["metrics.search/objective"])
    ]
    for number, trial in enumerate(frozen):
        trial.number = trial._trial_id = number
    study = view(frozen, minimize, optuna.samplers.RandomSampler(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it tells of ties, which make shares equal
        found: Mapping[str, float] = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    return {key: float(value) for key, value in found.items()}


def _column(raw: "pd.Series[str]") -> tuple[list[Any], BaseDistribution]:
    """Values of an axis as Optuna takes them, and over what they are spread."""
    numbers = pd.to_numeric(raw, errors="coerce")
    if numbers.isna().any():
        labels = raw.astype(str).tolist()
        return labels, CategoricalDistribution(list(dict.fromkeys(labels)))
    positive = numbers[numbers > 0]
    low, high = float(numbers.min()), float(numbers.max())
    log = low >= 0 and len(positive) > 1 and positive.max() / positive.min() > 100
    if not log:
        return numbers.astype(float).tolist(), FloatDistribution(low, high)
    floor = float(positive.min()) / 2  # where 0 goes on an axis of logarithms
    values = numbers.where(numbers > 0, floor).astype(float).tolist()
    return values, FloatDistribution(min(values), high, log=True)
