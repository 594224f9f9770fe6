"""The peers of the speed rows, as a competent user of torch would write them.

Both keep the data as tensors on the device, shuffle once an epoch, sum the loss without
leaving the device, and validate once an epoch. Of what was tried, the fastest is kept:
``fused`` before ``foreach`` and the plain loop over parameters; for (b) the whole step in
one graph before a compiled model, a compiled loss, or that and a compiled optimiser.
"""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from benchmarks.data import Arrays
from benchmarks.shapes import Shape

__all__ = ["Measure", "compiled", "gemm", "plain"]

LR, MOMENTUM = 0.05, 0.9
GEMM_SIDE = 1024
GEMM_SECONDS = 0.5

Network = Callable[[Tensor], Tensor]
Measure = Callable[[], tuple[float, float]]
"""One measurement: seconds, and the work done in them (member-steps, or floating-point operations)."""


def plain(shape: Shape, data: Arrays, device: str) -> Measure:
    """(a): one network, ``torch.optim.SGD``, eager."""
    data = _laid_out(shape, data)

    def measure() -> tuple[float, float]:
        network = _network(shape, device)
        optimizer = torch.optim.SGD(network.parameters(), lr=LR, momentum=MOMENTUM, fused=True)

        def step(x: Tensor, y: Tensor) -> Tensor:
            optimizer.zero_grad(set_to_none=True)
            loss = nn.functional.cross_entropy(network(x), y)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            return loss.detach()

        return _timed(shape, data, step, network)

    measure()
    return measure


def compiled(shape: Shape, data: Arrays, device: str) -> Measure:
    """(b): the same network, its whole step (forward, backward, SGD) one compiled graph."""
    data = _laid_out(shape, data)
    structure = _network(shape, device)
    forward: Network = torch.compile(structure)  # for validation

    def loss_of(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(structure, parameters, (x,)), y)

    @torch.compile
    def update(parameters: dict[str, Tensor], momenta: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        loss: Tensor
        gradients, loss = grad_and_value(loss_of)(parameters, x, y)
        for name, parameter in parameters.items():
            momenta[name].mul_(MOMENTUM).add_(gradients[name])
            parameter.sub_(momenta[name], alpha=LR)
        return loss

    def measure() -> tuple[float, float]:
        structure.load_state_dict(_network(shape, device).state_dict())
        # The module's own tensors, so that what validates sees what was trained.
        parameters = {name: p.detach() for name, p in structure.named_parameters()}
        momenta = {name: torch.zeros_like(p) for name, p in parameters.items()}
        return _timed(shape, data, lambda x, y: update(parameters, momenta, x, y), forward)

    measure()
    return measure


def _network(shape: Shape, device: str) -> nn.Module:
    network = shape.plain().to(device)
    if shape.channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _laid_out(shape: Shape, data: Arrays) -> Arrays:
    if not shape.channels_last:
        return data
    x_train, x_val = (x.contiguous(memory_format=torch.channels_last) for x in (data.x_train, data.x_val))
    return Arrays(x_train, data.y_train, x_val, data.y_val)


def _timed(
    shape: Shape, data: Arrays, step: Callable[[Tensor, Tensor], Tensor], network: Network
) -> tuple[float, float]:
    begun = time.perf_counter()
    for _ in range(shape.peer_epochs):
        total = torch.zeros((), device=data.x_train.device)
        for x, y in _batches(shape, data):
            total += step(x, y)
        total.item()
        _validate(network, data)
    steps = shape.peer_epochs * (len(data.x_train) // shape.batch)
    return time.perf_counter() - begun, steps


def _batches(shape: Shape, data: Arrays) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.randperm(len(data.x_train), device=data.x_train.device)
    x, y = data.x_train[order], data.y_train[order]
    for start in range(0, len(x) - shape.batch + 1, shape.batch):
        yield x[start : start + shape.batch], y[start : start + shape.batch]


@torch.no_grad()
def _validate(network: Network, data: Arrays) -> tuple[float, float]:
    logits = network(data.x_val)
    hits = (logits.argmax(1) == data.y_val).float().mean()
    return nn.functional.cross_entropy(logits, data.y_val).item(), hits.item()


def gemm(device: str) -> Measure:
    """The rate of float32 products of square matrices of side 1024: what the hardware gives."""
    a, b, out = (torch.randn(GEMM_SIDE, GEMM_SIDE, device=device) for _ in range(3))

    def measure() -> tuple[float, float]:
        begun, count = time.perf_counter(), 0
        while (spent := time.perf_counter() - begun) < GEMM_SECONDS:
            for _ in range(8):
                torch.mm(a, b, out=out)
            if device == "cuda":
                torch.cuda.synchronize()
            count += 8
        return spent, 2.0 * GEMM_SIDE**3 * count

    measure()
    return measure
