"""What the template logs besides losses and accuracies: eight measures on a fixed batch."""

import torch
from torch import Tensor, nn


class Probe:
    """Measures a tanh MLP; one forward and backward pass, and the singular values of its hidden weights."""

    NAMES = (
        "effective_rank",
        "row_cosine",
        "effective_width",
        "flat_fraction",
        "dead_fraction",
        "linear_fraction",
        "gradient_ratio",
        "update_ratio",
    )

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
        self.net, self.optimizer, self.x, self.y = net, optimizer, x, y

    def measure(self) -> list[float]:
        """The values of ``NAMES``, in one transfer."""
        hidden = self.net.layers[:-1]
        weights = torch.stack([layer.weight.detach() for layer in hidden])
        values = [*self._weights(weights, hidden), *self._activations(hidden), self._gradients(), self._updates()]
        return torch.stack(values).tolist()

    def _weights(self, w: Tensor, hidden: list[nn.Linear]) -> tuple[Tensor, Tensor, Tensor]:
        """Effective rank (Roy & Vetterli 2007), mean cosine of rows, share of distinct neurons."""
        s = torch.linalg.svdvals(w)
        p = s / s.sum(-1, keepdim=True).clamp_min(1e-30)
        rank = torch.exp(-(p * p.clamp_min(1e-30).log()).sum(-1)).mean() / w.shape[-1]
        unit = nn.functional.normalize(w, dim=-1)
        cosine = (unit @ unit.mT).abs()
        n = w.shape[-2]
        mean_cosine = ((cosine.sum((-1, -2)) - cosine.diagonal(dim1=-1, dim2=-2).sum(-1)) / (n * (n - 1))).mean()
        rows = torch.cat([w, torch.stack([layer.bias.detach() for layer in hidden]).unsqueeze(-1)], -1)
        close = torch.cdist(rows, rows) <= 1e-5 * rows.norm(dim=-1).amax(-1)[:, None, None]
        first = close.tril(-1).any(-1).logical_not()
        return rank, mean_cosine, first.float().mean()

    @torch.no_grad()
    def _activations(self, hidden: list[nn.Linear]) -> tuple[Tensor, Tensor, Tensor]:
        """Shares of what is flat, of units flat on every sample, of what is within 5 % of linear."""
        a, zs = self.x, []
        for layer in hidden:
            zs.append(layer(a))
            a = torch.tanh(zs[-1])
        z = torch.stack(zs)
        flat = 1 - torch.tanh(z) ** 2 < 0.1
        linear = (torch.tanh(z) - z).abs() <= 0.05 * z.abs()
        return flat.float().mean(), flat.all(1).float().mean(), linear.float().mean()

    def _gradients(self) -> Tensor:
        """Gradient norm of the first layer over the last."""
        ends = [self.net.layers[0].weight, self.net.layers[-1].weight]
        first, last = torch.autograd.grad(nn.functional.cross_entropy(self.net(self.x), self.y), ends)
        return first.norm() / last.norm().clamp_min(1e-30)

    @torch.no_grad()
    def _updates(self) -> Tensor:
        """Norm of the last update over that of the weights."""
        weights = [layer.weight for layer in self.net.layers]
        moved = torch.stack([self.optimizer.state[w]["momentum_buffer"].norm() for w in weights]).norm()
        return self.optimizer.param_groups[0]["lr"] * moved / torch.stack([w.norm() for w in weights]).norm()
