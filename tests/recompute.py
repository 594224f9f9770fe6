"""What the numbers of a report must say, from the rows of ``trials.csv`` alone, by pandas, scipy and Optuna."""

import itertools
import math
import re
from types import SimpleNamespace

import numpy as np
import optuna
import pandas as pd
from scipy import stats

TEST = "metrics.test/accuracy"
SYMPTOMS = {
    "diverged while training": lambda t: t["metrics.health/diverged_replicates"] > 0,
    "start with copies (effective width below 0.5)": lambda t: t["metrics.init/redundancy/effective_width"] < 0.5,
    "start saturated (flat fraction above 0.5)": lambda t: t["metrics.init/saturation/flat_fraction"] > 0.5,
    "start with next to no gradient in the first layer (ratio below 0.01)": (
        lambda t: t["metrics.init/signal/gradient_ratio"] < 0.01
    ),
    "start with none of these": lambda t: t["trial"] >= 0,
}


def spread(values):
    """Mean, standard deviation, and the ends of the 95 % interval of the mean."""
    mean, std, n = values.mean(), values.std(ddof=1), len(values)
    half = stats.t.ppf(0.975, n - 1) * std / math.sqrt(n)
    return {"mean": mean, "std": std, "low": mean - half, "high": mean + half}


class Table:
    """The rows of ``trials.csv``; ``says(number)`` is what a marked number must say."""

    def __init__(self, path):
        self.rows = pd.read_csv(path)
        self.trials = self.kind("trial").astype({"in_region": bool, "on_front": bool})
        self.finished = self.trials[self.trials["state"] == "finished"]

    def kind(self, name):
        return self.rows[self.rows["kind"] == name]

    def says(self, number):
        n = SimpleNamespace(
            **{name: number.get(f"data-{name}", "") for name in ("kind", "stat", "run", "metric", "of")}
        )
        return getattr(self, f"of_{n.kind}")(n)

    def of_trial(self, n):
        if n.stat == "value":
            (value,) = self.trials[self.trials["run_id"] == n.run].get(f"metrics.{n.metric}", [math.nan])
            return value
        accuracy = self.finished.get("metrics.val/accuracy", pd.Series(dtype=float))
        weak = self.finished[~(accuracy >= 0.9 * accuracy.max())]
        if n.stat == "symptom":
            for name in itertools.takewhile(lambda name: name != n.of, SYMPTOMS):
                weak = weak[~SYMPTOMS[name](weak)]
            return int(SYMPTOMS[n.of](weak).sum())
        found = {
            "count": lambda: len(self.trials) if n.of == "all" else (self.trials["state"] == n.of).sum(),
            "weak": lambda: len(weak),
            "drawn": lambda: min(1000, len(self.finished)),
            "front": lambda: self.trials["on_front"].sum(),
            "tried": lambda: (self.finished[f"params.{n.metric}"] == n.of).sum(),
            "ending": lambda: self.ended(n.metric, n.of),
        }
        return int(found[n.stat]())

    def ended(self, kind, reason):
        if kind in (counted := {"diverged": "diverged", "not measured": "unmeasured"}):
            return (self.finished[f"metrics.health/{counted[kind]}_replicates"] == int(reason.split()[0])).sum()
        why = self.trials["reason"].fillna("").str.replace(r"(?<=[ =])\d[\d.e+-]*", "..", regex=True)
        return ((self.trials["state"] == kind) & (why == reason)).sum()

    def of_confirmation(self, n):
        rows = self.kind("confirmation")
        if n.stat == "seeds":
            return rows["seed"].nunique()
        return spread(rows[rows["run_id"] == n.run][f"metrics.{n.metric}"].fillna(0.0))[n.stat]

    def of_exemplar(self, n):
        rows = self.kind("exemplar")
        (value,) = rows[(rows["run_id"] == n.run) & (rows["title"] == n.of)][f"metrics.{n.metric}"]
        return value

    @property
    def networks(self):
        """Test accuracy by seed, a column a run: what schemes are compared by."""
        return self.kind("replicate").pivot(index="seed", columns="run_id", values=TEST).fillna(0.0)

    def of_replicate(self, n):
        if n.stat == "seeds":
            return len(self.networks)
        if n.stat == "friedman":
            return stats.friedmanchisquare(*self.networks.to_numpy().T).pvalue
        if n.stat == "rank":
            return self.networks.rank(axis=1, ascending=False)[n.run].mean()
        return spread(self.networks[n.run])[n.stat]

    def of_pair(self, n):
        wide = self.networks
        if n.stat != "p":
            return spread(wide[n.run] - wide[n.of])[n.stat]
        pairs = list(itertools.combinations(wide, 2))
        adjusted = holm({frozenset(pair): stats.ttest_rel(*(wide[run] for run in pair)).pvalue for pair in pairs})
        return adjusted[frozenset((n.run, n.of))]

    def of_region(self, n):
        values = self.finished["metrics.search/objective"]
        spreads = self.finished["metrics.spread/val/accuracy"]
        replicates = len(str(self.finished["params.seeds"].iloc[0]).split(","))
        near = spreads[(values >= 0.9 * values.max()) & spreads.notna()]
        pooled = math.sqrt((near**2).mean())
        freedom = len(near) * (replicates - 1)
        margin = max(0.005, stats.t.ppf(0.975, freedom) * pooled * math.sqrt(2 / replicates))
        good = values.max() - values <= margin + 1e-12
        inside = self.finished["in_region"]
        own = self.finished[inside].get(f"params.{n.metric}")
        found = {
            "margin": lambda: margin,
            "inside": lambda: inside.sum(),
            "good": lambda: (good & inside).sum(),
            "all_good": good.sum,
            "low": lambda: own.min(),
            "high": lambda: own.max(),
        }
        return found[n.stat]()

    def of_importance(self, n):
        axes = {}
        for column in [name for name in self.finished if name in self.searched]:
            values = self.finished[column]
            if not pd.api.types.is_numeric_dtype(values):
                axes[column] = values, optuna.distributions.CategoricalDistribution(list(values.unique()))
                continue
            positive = values[values > 0]
            log = values.min() >= 0 and positive.max() > 100 * positive.min()
            values = values.where(values > 0, positive.min() / 2) if log else values
            axes[column] = values, optuna.distributions.FloatDistribution(values.min(), values.max(), log=log)
        study = optuna.create_study(direction="maximize")
        for i, value in enumerate(self.finished["metrics.search/objective"]):
            params = {name: values.iloc[i] for name, (values, _) in axes.items()}
            distributions = {name: distribution for name, (_, distribution) in axes.items()}
            study.add_trial(optuna.create_trial(value=value, params=params, distributions=distributions))
        shares = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.PedAnovaImportanceEvaluator()
        )
        return shares[f"params.{n.metric}"]

    searched = ("params.weight_init.scale", "params.bias_init.value", "params.weight_init.name")


class Sides:
    """The rows of ``networks.csv`` of sides that share their seeds."""

    def __init__(self, path, numbers):
        rows = pd.read_csv(path).set_index("seed")
        self.sides = {run: own.drop(columns=["side", "run_id"]) for run, own in rows.groupby("run_id", sort=False)}
        self.first = next(iter(self.sides))
        first = self.sides[self.first]
        # The page corrects for all the differences that it tests.
        tested = {(n["data-run"], n["data-metric"]) for n in numbers if n["data-kind"] == "difference"}
        self.p = holm({(run, m): paired(self.sides[run][m] - first[m]) for run, m in tested})

    def says(self, number):
        own, metric, stat = self.sides[number["data-run"]], number.get("data-metric"), number["data-stat"]
        if stat in ("networks", "diverged"):
            return len(own) if stat == "networks" else own["health/diverged"].sum()
        if number["data-kind"] == "side":
            return spread(own[metric])[stat]
        assert number["data-of"] == self.first
        differences = own[metric] - self.sides[self.first][metric]
        if stat == "seeds":
            return differences.notna().sum()
        return self.p[number["data-run"], metric] if stat == "p" else spread(differences)[stat]


def paired(differences):
    """p of the paired t-test; where all differences are equal 0, or 1 if they are 0."""
    if np.ptp(differences) < 1e-12:
        return float(abs(differences.mean()) < 1e-12)
    return stats.ttest_1samp(differences, 0.0).pvalue


def holm(p):
    """Holm's correction: each times how many are as large or larger, and never below an earlier one."""
    order = sorted(p, key=p.get)
    steps = np.maximum.accumulate([p[name] * (len(p) - i) for i, name in enumerate(order)])
    return {name: min(1.0, step) for name, step in zip(order, steps, strict=True)}


def agrees(shown, value):
    """Whether a printed number is the value, rounded to the digits that it shows."""
    if shown == "-":
        return math.isnan(value)
    digits = len(re.sub(r"e.*", "", shown).partition(".")[2])
    if "e" in shown:
        return float(shown) == float(f"{value:.{digits}e}")
    return abs(float(shown) - value) <= 0.5 * 10.0**-digits + 1e-12
