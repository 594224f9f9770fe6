"""The code of a report is run, and gives the init that it says."""

import math

import pytest
import torch
from torch import nn

from pipeline.config import compose, plain
from pipeline.init import InitSpec, initial_parameters
from pipeline.models import MLP
from pipeline.report.code import TORCH, code_of


def run(text, **names):
    exec(text, names)  # the text is the lab's own


@pytest.mark.parametrize("scheme", sorted(TORCH))
def test_pytorchs_lines_have_the_schemes_spread(scheme):
    code = code_of(plain(compose([f"weight_init={scheme}", "weight_init.scale=1.7", "bias_init.value=0.3"])))
    torch.manual_seed(0)
    model = MLP((300,), 10, width=200)
    run(code["with PyTorch alone"], model=model)
    expected = initial_parameters(model, InitSpec(scheme, 1.7, "constant", 0.3), 0)
    for name, p in model.named_parameters():
        own = expected[name]
        p = p.detach().double()
        assert float(p.std()) == pytest.approx(float(own.std()), rel=0.05, abs=1e-6)
        assert float(p.abs().max()) == pytest.approx(float(own.abs().max()), rel=0.25, abs=1e-6)


@pytest.mark.parametrize(
    "overrides",
    [
        ["weight_init=lsuv", "bias_init=data_centred"],
        ["weight_init=row_tied", "weight_init.scale=0.5", "bias_init=normal", "bias_init.value=-0.2"],
        ["weight_init=orthogonal", "weight_init.layers.last={name: zeros}"],
    ],
)
def test_the_labs_lines_give_the_very_numbers(overrides):
    config = compose(overrides)
    code = code_of(plain(config))["with initlab, to the same numbers"]
    x, y = torch.randn(64, 20, dtype=torch.float64), torch.arange(64) % 3
    model = MLP((20,), 3, width=16).double()
    run(code, model=model, x_train=x, y_train=y, n_classes=3)
    from pipeline.init import FitData
    from pipeline.runner import Job, member_of

    expected = initial_parameters(MLP((20,), 3, width=16), member_of(Job(config, 0)).init, 0, FitData.of(x, y, 3))
    assert all(torch.equal(p.detach(), expected[name]) for name, p in model.named_parameters())


def test_a_negative_spread_of_biases_is_made_positive():
    code = code_of(plain(compose(["bias_init=normal", "bias_init.value=-0.5"])))["with PyTorch alone"]
    model = nn.Sequential(nn.Linear(4, 4000))
    run(code, model=model)
    assert float(model[0].bias.detach().std()) == pytest.approx(0.5, rel=0.1)
    assert math.isclose(float(model[0].bias.detach().mean()), 0, abs_tol=0.05)


def test_what_pytorch_has_not_is_not_said_of_it():
    assert list(code_of(plain(compose(["weight_init=lsuv"])))) == ["with initlab, to the same numbers"]
