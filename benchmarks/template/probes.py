"""What the template logs besides losses and accuracies: eight measures of weights, activations and gradients."""

import torch
from torch import Tensor, nn


class Probe:
    """Measures a tanh MLP: its hidden weights, one forward pass on a fixed batch, the last step's gradients."""

    NAMES = (
        "effective_rank",
        "row_cosine",
        "flat_fraction",
        "dead_fraction",
        "linear_fraction",
        "gradient_norm",
        "gradient_ratio",
        "update_ratio",
    )

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor) -> None:
        self.net, self.optimizer, self.x = net, optimizer, x

    @torch.no_grad()
    def measure(self) -> list[float]:
        """The values of ``NAMES``, in one transfer."""
        return torch.stack([*self._weights(), *self._activations(), *self._steps()]).tolist()

    def _weights(self) -> tuple[Tensor, Tensor]:
        """Effective rank (Roy & Vetterli 2007) and mean cosine of the rows, over the hidden layers."""
        w = torch.stack([layer.weight for layer in self.net.layers[:-1]])
        s = torch.linalg.svdvals(w)
        p = (s / s.sum(-1, keepdim=True)).clamp_min(1e-30)
        rank = torch.exp(-(p * p.log()).sum(-1)).mean() / w.shape[-1]
        unit = nn.functional.normalize(w, dim=-1)
        n = w.shape[-2]
        return rank, ((unit @ unit.mT).abs().sum((-1, -2)) - n).mean() / (n * (n - 1))

    def _activations(self) -> tuple[Tensor, Tensor, Tensor]:
        """Shares of what is flat, of units flat on every sample, of what is within 5 % of linear."""
        a, zs, activations = self.x, [], []
        for layer in self.net.layers[:-1]:
            zs.append(layer(a))
            activations.append(a := torch.tanh(zs[-1]))
        z, phi = torch.stack(zs), torch.stack(activations)
        flat = phi.abs() > 0.9**0.5  # where 1 - tanh^2 is below a tenth
        linear = (phi - z).abs() <= 0.05 * z.abs()
        return flat.float().mean(), flat.all(1).float().mean(), linear.float().mean()

    def _steps(self) -> tuple[Tensor, Tensor, Tensor]:
        """Norm of the last gradient, first layer's over last layer's, and the update's over the weights'."""
        weights = [layer.weight for layer in self.net.layers]
        of = torch.stack(torch._foreach_norm([w.grad for w in weights]))
        moved = torch.stack(torch._foreach_norm([self.optimizer.state[w]["momentum_buffer"] for w in weights]))
        size = torch.stack(torch._foreach_norm(weights))
        update = self.optimizer.param_groups[0]["lr"] * moved.norm() / size.norm()
        return of.norm(), of[0] / of[-1].clamp_min(1e-30), update
