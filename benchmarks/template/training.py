"""One trial of the template: three networks under three seeds, their means for every epoch."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import torch
from probes import Probe
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn


class Data:
    """Digits in three parts, standardised by the training part: 1077, 360 and 360 rows."""

    def __init__(self) -> None:
        x, y = load_digits(return_X_y=True)
        rest, _, y_rest, _ = train_test_split(x, y, test_size=0.2, stratify=y, random_state=0)
        train, val, y_train, y_val = train_test_split(rest, y_rest, test_size=0.25, stratify=y_rest, random_state=0)
        mean, std = train.mean(0), train.std(0)
        std[std == 0] = 1.0
        self.x, self.x_val = (torch.tensor((part - mean) / std, dtype=torch.float32) for part in (train, val))
        self.y, self.y_val = torch.tensor(y_train), torch.tensor(y_val)


@lru_cache(maxsize=1)
def load() -> Data:
    """The data, once in each worker."""
    return Data()


class MLP(nn.Module):
    """Tanh network; its hidden layers' pre-activations are what the probes look at."""

    def __init__(self, sizes: Sequence[int], weight_scale: float, bias_value: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        for layer in self.layers:
            nn.init.xavier_normal_(layer.weight, gain=weight_scale)
            nn.init.constant_(layer.bias, bias_value)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = torch.tanh(layer(x))
        return self.layers[-1](x)


class Run:
    """One network, its optimiser and the order of its data."""

    def __init__(self, cfg, seed: int) -> None:
        torch.manual_seed(seed)
        self.data, self.batch = load(), cfg.batch_size
        self.net = MLP(cfg.sizes, cfg.weight_scale, cfg.bias_value)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=cfg.lr, momentum=cfg.momentum, fused=True)
        self.probe = Probe(self.net, self.optimizer, self.data.x[: cfg.probe_rows])

    def epoch(self) -> list[float]:
        """Trains for one epoch; the twelve metrics of it."""
        loss, hits, count = torch.zeros(()), torch.zeros(()), 0
        for x, y in self._batches():
            self.optimizer.zero_grad(set_to_none=True)
            logits = self.net(x)
            batch_loss = nn.functional.cross_entropy(logits, y)
            batch_loss.backward()
            self.optimizer.step()
            loss += batch_loss.detach()
            hits += (logits.detach().argmax(1) == y).sum()
            count += 1
        train = [loss.item() / count, hits.item() / (count * self.batch)]
        return [*train, *self._validate(), *self.probe.measure()]

    def _batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self.data.x))
        x, y = self.data.x[order], self.data.y[order]
        for start in range(0, len(x) - self.batch + 1, self.batch):
            yield x[start : start + self.batch], y[start : start + self.batch]

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        logits = self.net(self.data.x_val)
        hits = (logits.argmax(1) == self.data.y_val).float().mean()
        return nn.functional.cross_entropy(logits, self.data.y_val).item(), hits.item()


NAMES = ("train/loss", "train/accuracy", "val/loss", "val/accuracy", *Probe.NAMES)


def train(cfg) -> Iterator[dict[str, float]]:
    """The means over the seeds, epoch by epoch."""
    torch.set_num_threads(1)
    runs = [Run(cfg, seed) for seed in cfg.seeds]
    for _ in range(cfg.epochs):
        rows = [run.epoch() for run in runs]
        yield {name: sum(column) / len(rows) for name, column in zip(NAMES, zip(*rows, strict=True), strict=True)}
