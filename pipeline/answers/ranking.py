"""Whether the verdict before training ranks inits as training does, from a study of random trials."""

import io
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import stats

from pipeline.answers.claims import ACCURACY
from pipeline.answers.picture import COLOURS, DPI, MARKERS
from pipeline.tracking import StudyRuns
from pipeline.verdict import HOPELESS

__all__ = ["NAME", "Ranking", "rank_verdicts"]

NAME = "verdict"
GOOD = 0.9
"""Trials that reach this share of the best accuracy are good ones."""
SCORE, FINAL = "metrics.verdict/score", f"metrics.{ACCURACY}"


@dataclass(frozen=True)
class Ranking:
    """How the verdict did on the trials of a study.

    Attributes:
        spearman: rank correlation of score and final test accuracy; low, high: its 95 %
            confidence interval (Fisher's z with the variance of Bonett & Wright 2000).
        good: trials that reach 90 % of the best accuracy. hopeless: trials called so.
        missed: trials that are both.
        png: score against accuracy, a point a trial.
    """

    study: str
    dataset: str
    trials: int
    spearman: float
    low: float
    high: float
    good: int
    hopeless: int
    missed: int
    png: bytes

    @property
    def sentences(self) -> list[str]:
        """The figures in words."""
        share = self.missed / self.good if self.good else math.nan
        return [
            f"Spearman correlation of the score with final test accuracy over {self.trials} random trials: "
            f"{self.spearman:.3f} [{self.low:.3f}, {self.high:.3f}].",
            f"Of {self.good} trials that reach 90 % of the best accuracy, {self.missed} ({share:.1%}) were called "
            f"hopeless; of the {self.trials - self.good} others, {self.hopeless - self.missed}.",
        ]


def rank_verdicts(runs: StudyRuns) -> Ranking | None:
    """Computes the figures from a study's stored runs; None if it has fewer than three trials with a verdict."""
    trials = runs.trials
    if trials.empty or SCORE not in trials or trials[SCORE].notna().sum() < 3:
        return None
    # A network that diverged has no finite loss, and as an accuracy 0.
    score, accuracy = trials[SCORE].to_numpy(float), trials[FINAL].fillna(0.0).to_numpy(float)
    rho = float(stats.spearmanr(score, accuracy).statistic)
    good, hopeless = accuracy >= GOOD * accuracy.max(), score < HOPELESS
    return Ranking(
        runs.study,
        runs.parent.data.params["dataset"],
        len(trials),
        rho,
        *_interval(rho, len(trials)),
        int(good.sum()),
        int(hopeless.sum()),
        int((good & hopeless).sum()),
        _picture(trials, score, accuracy),
    )


def _interval(rho: float, count: int) -> tuple[float, float]:
    if count < 4 or abs(rho) >= 1:
        return rho, rho
    half = float(stats.norm.ppf(0.975)) * math.sqrt((1 + rho**2 / 2) / (count - 3))
    return math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half)


def _picture(trials: pd.DataFrame, score: np.ndarray, accuracy: np.ndarray) -> bytes:
    """A PNG: one panel a depth, activations by colour and marker."""
    depths = sorted(trials["params.model.depth"].astype(int).unique())
    activations = list(dict.fromkeys(trials["params.model.activation"]))
    figure = Figure(figsize=(2.6 * max(2, len(depths)), 3.4), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(depths), squeeze=False, sharey=True)[0]
    for ax, depth in zip(axes, depths, strict=True):
        for activation, colour, marker in zip(activations, COLOURS, MARKERS, strict=False):
            chosen = (trials["params.model.depth"].astype(int) == depth) & (
                trials["params.model.activation"] == activation
            )
            ax.scatter(score[chosen], accuracy[chosen], s=16, color=colour, marker=marker, alpha=0.7, label=activation)
        ax.axvline(HOPELESS, color="#666666", linewidth=1, linestyle=":")
        ax.set(
            title=f"{depth} hidden layer{'s' if depth > 1 else ''}", xlabel="score before training", xlim=(-0.04, 1.04)
        )
        ax.grid(alpha=0.25)
    axes[0].set_ylabel("test accuracy after training")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(activations), frameon=False
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
