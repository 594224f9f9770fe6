"""``docs/metrics.md``, made from the registry: ``python -m pipeline.probes.docs > docs/metrics.md``."""

from collections.abc import Iterator

from pipeline.probes import PROBES, LayerProbe, Need, NetworkProbe
from pipeline.probes.registry import Cost

__all__ = ["metrics_page"]

INTRODUCTION = """\
# What is measured

A *probe* measures a network on a fixed batch, the first `probes.rows` rows of the training
part, at `probes.points` steps between 0 and the last, spaced evenly in log(step + 1).
`probes=light|standard|full` chooses among them by cost, `probes.only=[NAME, ...]` by name.

A run has 20 to 40 metrics, as MLflow's pages freeze with many: those under "Other metrics"
and the *headline* probes, with at most six log-spaced points of their history, their last
value, and their value before the first step as `init/...`. Probes named in `probes.only` are
metrics as well. The artifact `layers.parquet` has the values of all probes that ran, at each
step, of each layer and, under the layer `(network)`, of the whole network, and there the
losses and accuracies of every epoch as well.

This page is made from the registry (`python -m pipeline.probes.docs > docs/metrics.md`) and
checked by a test. Every probe is tested against its closed form and against an independent
slow version of itself (`tests/oracles.py`) on MLPs with each activation, on residual,
convolutional, pooled and batch-normalised networks.

Notation: W is a layer's weight with one row w_i a unit, b its bias; z = Wx + b the
pre-activation, phi the activation function, a = phi(z); x runs over the probe samples and g
stands for the gradient of the mean loss over them. Units are neurons or channels; positions
of a feature map count as samples. Of more than 4,096 pairs of row and position every k-th is
looked at, k the smallest number that leaves 4,096 or fewer and has no divisor in common with
the number of positions, so that each row is looked at in other places and none is left out.
A convolution's W is the matrix (channels out, channels in x kernel). A layer is hidden if an
activation follows it; the network's value is the mean over hidden units (each layer counts by
its width) or over hidden layers. Activations are counted and summed in the dtype of the
training; whatever a tolerance or a small difference decides is computed in float64. A diverged
network has NaN, which isn't logged.

A probe that fails on a network, as a decomposition that doesn't converge does, costs that
network its value and nothing else: training goes on, other probes and other networks keep the
bits that they have without it. The value is NaN in `layers.parquet` and left out of the means
over replicates; the study says so once, and the run has the tag `initlab.failed_probes`.
"""

COSTS = {
    Cost.LIGHT: "one pass over weights, activations or gradients",
    Cost.STANDARD: "a matrix product a layer, or the singular values of its weights",
    Cost.FULL: "products or singular values of the activations, or more backward passes",
}

OTHERS = {
    "train/loss, train/accuracy": "mean cross-entropy (nats) and share of hits over an epoch's batches, each taken "
    "before its step; at step 0 over the whole training part",
    "val/loss, val/accuracy": "the same on the validation part, after each epoch",
    "test/accuracy": "share of hits on the test part, once, at the end",
    "symmetry/broken_step": "first step at which no two units of a hidden layer have equal incoming rows and biases "
    "to the last bit; -1 if some still have at the end",
    "symmetry/predicted_width": "of an MLP without dropout: share of hidden units that deterministic training can "
    "keep distinct at most, settled from the weights before the first step (`pipeline.symmetry`): classes of copies "
    "count once, and so do all units that stay constant. Functional width can be lower: units can be multiples of "
    "each other under ReLU, or differ only on inputs that are constant in the data",
    "verdict/score": "of the verdict before training, 0..1 (`pipeline.verdict`); the reason is the tag "
    "`initlab.verdict`",
    "init/NAME": "NAME before the first step (`init/signal/update_ratio`: of the first step)",
    "best/val/accuracy, best/step": "the highest validation accuracy of the mean curve, and its step",
    "spread/NAME": "standard deviation over replicates (ddof 1) of the last value",
    "health/diverged_replicates": "replicates whose loss or parameters stopped being finite",
    "health/unmeasured_replicates": "replicates on which a probe failed, if there are any; the tag "
    "`initlab.failed_probes` says which and why",
    "health/nonfinite_values": "values that were left out as they are NaN or infinite",
    "search/objective": "what the sampler was told of the trial",
    "best/test/accuracy, best/test/accuracy_std": "of a study: the winner's mean and standard deviation over the "
    "fresh seeds of its confirmation",
}


def metrics_page() -> str:
    """The page, as Markdown."""
    return "\n".join([INTRODUCTION, *_costs(), *_overview(), *_others(), "## The probes", *_sections()]).rstrip() + "\n"


def _costs() -> Iterator[str]:
    yield from ["| preset | runs | cost of what it adds |", "|---|---|---|"]
    count = 0
    for cost, text in COSTS.items():
        count += sum(probe.cost is cost for probe in PROBES.values())
        yield f"| `{cost.value}` | {count} probes | {text} |"
    yield ""


def _overview() -> Iterator[str]:
    yield from ["## Overview", "", "| probe | preset | headline | the network's value |", "|---|---|---|---|"]
    for name, probe in sorted(PROBES.items()):
        link = f"[`{name}`](#{name.replace('/', '')})"
        yield f"| {link} | {probe.cost.value} | {'yes' if probe.headline else ''} | {_pooled(probe)} |"
    yield ""


def _pooled(probe: LayerProbe | NetworkProbe) -> str:
    return probe.pool.value if isinstance(probe, LayerProbe) else "of the network as a whole"


def _others() -> Iterator[str]:
    yield from ["## Other metrics", "", "| key | meaning |", "|---|---|"]
    for keys, meaning in OTHERS.items():
        yield f"| {', '.join(f'`{key}`' for key in keys.split(', '))} | {meaning} |"
    yield ""


def _sections() -> Iterator[str]:
    for name, probe in sorted(PROBES.items()):
        about = probe.about
        needs = f"; needs {probe.need.value}" if probe.need is not Need.NOTHING else ""
        yield from ["", f"### {name}", ""]
        yield f"- Formula: {about.formula}."
        yield f"- Source: {about.source}."
        yield f"- Cost: {probe.cost.value} ({COSTS[probe.cost]}{needs})."
        yield f"- Check: {about.check}."
        if about.elsewhere:
            yield f"- Elsewhere: {about.elsewhere}"


if __name__ == "__main__":
    print(metrics_page(), end="")
