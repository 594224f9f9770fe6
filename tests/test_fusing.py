"""Rectification and pooling in one pass: torch's numbers to the last bit, wherever it is put in."""

import pytest
import torch
from torch import Tensor, nn

from pipeline.execution import LoopStack, fusing
from pipeline.execution.fusing import fused
from pipeline.models import CNN
from pipeline.native import NoCompilerError, RectifiedPool
from pipeline.stack import Stack

LAST = torch.channels_last


def images(*shape: int, seed: int = 0) -> Tensor:
    """Half of the pixels are among five values, so that many of a window are equal."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=g)
    coarse = x.round().clamp(-2, 2)
    return torch.where(torch.rand(shape, generator=g) < 0.5, coarse, x).contiguous(memory_format=LAST)


def same_bits(a: Tensor, b: Tensor) -> bool:
    return torch.equal(a.isnan(), b.isnan()) and torch.equal(a.nan_to_num(7.0), b.nan_to_num(7.0))


def passes(pool, z: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    z = z.clone(memory_format=torch.preserve_format).requires_grad_()
    out = pool(z)
    out.backward(slope)
    return out.detach(), z.grad


def by_torch(z: Tensor) -> Tensor:
    return nn.functional.max_pool2d(nn.functional.relu(z), 2)


@pytest.mark.parametrize(
    "shape", [(2, 1, 4, 4), (3, 16, 28, 28), (2, 17, 9, 8), (1, 33, 7, 9), (4, 3, 2, 2), (2, 40, 5, 2), (1, 8, 3, 3)]
)
@pytest.mark.parametrize("laid_out", [LAST, torch.contiguous_format])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pooling_against_torch(shape, laid_out, dtype):
    z = images(*shape).to(dtype).contiguous(memory_format=laid_out)
    slope = torch.randn(shape[0], shape[1], shape[2] // 2, shape[3] // 2, dtype=dtype)
    for mine, theirs in zip(passes(RectifiedPool(), z, slope), passes(by_torch, z, slope), strict=True):
        assert same_bits(mine, theirs)
        assert mine.shape == theirs.shape


@pytest.mark.parametrize("channels", [3, 16, 21])
def test_pooling_of_what_is_not_finite_against_torch(channels):
    z = images(8, channels, 10, 10)
    g = torch.Generator().manual_seed(1)
    for value in (float("nan"), float("inf"), -float("inf"), 0.0, -0.0):
        z[torch.rand(z.shape, generator=g) < 0.2] = value
    slope = torch.randn(8, channels, 5, 5)
    for mine, theirs in zip(passes(RectifiedPool(), z, slope), passes(by_torch, z, slope), strict=True):
        assert same_bits(mine, theirs)
    assert z.isnan().any()


class Branches(nn.Module):
    """Calls a part as a whole, the children of another one by one, and a third twice."""

    def __init__(self) -> None:
        super().__init__()
        self.whole = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.listed = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.twice = self.whole[1:]
        self.out = nn.Linear(4 * 4 * 4 + 4 * 2 * 1 + 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.whole(x)
        taps = []
        for child in self.listed:
            x = child(x)
            taps.append(x)
        parts = [taps[1].flatten(1), self.twice(x.repeat_interleave(2, 2)).flatten(1), x[:, :, 0, 0]]
        return self.out(torch.cat(parts, 1))


def pooled(module: nn.Module) -> int:
    """How many parts of a twin are computed in one pass."""
    forwards = [vars(child).get("forward") for child in module.modules()]
    parts = [part for forward in forwards if forward for part in forward.__self__]
    return sum(isinstance(part, RectifiedPool) for part in parts)


@pytest.mark.parametrize(
    ("module", "size", "pools"),
    [
        (CNN((1, 8, 8), 3, width=4), 8, 2),
        (CNN((1, 8, 8), 3, width=4, convs=2, hidden=5), 8, 2),
        (
            nn.Sequential(nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.MaxPool2d((2, 2)), nn.Flatten())),
            8,
            1,
        ),
        (nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(1, 3, 3), nn.Flatten()), 8, 1),
    ],
)
def test_a_network_has_the_same_numbers(module, size, pools):
    module = module.to(memory_format=LAST)
    x = images(32, 1, size, size)
    twin = fused(module)
    assert pooled(twin) == pools
    assert pooled(module) == 0
    assert dict(twin.named_parameters()).keys() == dict(module.named_parameters()).keys()
    assert all(mine is own for mine, own in zip(twin.parameters(), module.parameters(), strict=True))
    grads = []
    for network in (module, twin):
        network.zero_grad()
        network(x.clone()).square().sum().backward()
        grads.append([p.grad.clone() for p in module.parameters()])
    assert torch.equal(module(x.clone()), twin(x.clone()))
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize(
    "pair",
    [
        (nn.ReLU(), nn.MaxPool2d(3)),
        (nn.ReLU(), nn.MaxPool2d(2, stride=1)),
        (nn.ReLU(), nn.MaxPool2d(2, padding=1)),
        (nn.ReLU(), nn.MaxPool2d(2, dilation=2)),
        (nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)),
        (nn.ReLU(), nn.AvgPool2d(2)),
        (nn.Tanh(), nn.MaxPool2d(2)),
        (nn.ReLU(), nn.Identity(), nn.MaxPool2d(2)),
    ],
)
def test_what_is_anything_else_stays(pair):
    module = nn.Sequential(nn.Conv2d(1, 3, 3), *pair, nn.Flatten())
    assert fused(module) is module


def test_what_somebody_listens_to_stays():
    module = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.MaxPool2d(2))
    heard = []
    module[1].register_forward_hook(lambda *given: heard.append(given))
    assert fused(module) is module


def test_a_network_that_calls_its_parts_by_itself_has_the_same_numbers():
    module = Branches().to(memory_format=LAST)
    twin = fused(module)
    x = images(8, 1, 8, 8)
    assert pooled(twin) == 3
    assert torch.equal(module(x), twin(x))


def test_what_keeps_more_than_tensors_is_not_copied():
    module = CNN((1, 8, 8), 3, dropout=0.5)
    twins = dict(fused(module).named_modules())
    assert all(twins[name] is child for name, child in module.named_modules() if name not in ("", "layers"))
    assert twins["layers"] is not module.layers


def test_without_a_compiler_nothing_is_fused(monkeypatch):
    def fail() -> None:
        raise NoCompilerError("none")

    monkeypatch.setattr(fusing, "library", fail)
    module = CNN((1, 8, 8), 3)
    assert fused(module) is module


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_a_stack_of_one_evaluates_as_any_stack_does(dtype, pooling):
    module = CNN((1, 8, 8), 3, width=5, pooling=pooling, dropout=0.5)
    state = {name: p.detach() for name, p in module.named_parameters()}
    x, y = images(300, 1, 8, 8).to(dtype), torch.arange(300) % 3
    stack = LoopStack(module, [state], dtype, None)
    stack.bind()
    for mine, theirs in zip(stack.evaluate(x, y), Stack(module, [state], dtype, None).evaluate(x, y), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-12)


def test_a_stack_of_one_holds_one():
    module = CNN((1, 8, 8), 3)
    state = {name: p.detach() for name, p in module.named_parameters()}
    with pytest.raises(ValueError, match="one network, not 2"):
        LoopStack(module, [state, state], torch.float32, None).bind()
