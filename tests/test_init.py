import math

import pytest
import torch
from torch import nn

from pipeline.init import BIASES, WEIGHTS, Fans, InitSpec, initial_parameters
from pipeline.models import MLP
from pipeline.seeds import stream

SHAPE = (300, 200)
# The standard deviation of each scheme at scale 1, from its formula.
STD = {
    "zeros": 0.0,
    "constant": 0.0,
    "uniform": 1 / math.sqrt(3),
    "normal": 1.0,
    "lecun_normal": math.sqrt(1 / 200),
    "glorot_normal": math.sqrt(2 / 500),
    "glorot_uniform": math.sqrt(2 / 500),
    "he_normal": math.sqrt(2 / 200),
    "he_uniform": math.sqrt(2 / 200),
    "orthogonal": math.sqrt(1 / 300),
    "pytorch": math.sqrt(1 / 600),
}
BOUND = {
    "uniform": 1.0,
    "glorot_uniform": math.sqrt(6 / 500),
    "he_uniform": math.sqrt(6 / 200),
    "pytorch": math.sqrt(1 / 200),
}


def sample(name: str, shape=SHAPE, seed: int = 0) -> torch.Tensor:
    return WEIGHTS[name].sample(shape, stream(seed, "test"))


def test_every_scheme_has_its_moments_listed():
    assert set(STD) == set(WEIGHTS)


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_moments(name):
    weight = sample(name)
    assert weight.shape == SHAPE
    assert weight.dtype == torch.float64
    # 60,000 draws: the standard error of the standard deviation is 0.3 % of it.
    assert float(weight.std()) == pytest.approx(STD[name], rel=0.015)
    expected_mean = 1.0 if name == "constant" else 0.0
    assert float(weight.mean()) == pytest.approx(expected_mean, abs=0.02 * max(STD[name], 1e-9))
    if name in BOUND:
        assert float(weight.abs().max()) <= BOUND[name]
        assert float(weight.abs().max()) > 0.999 * BOUND[name]


@pytest.mark.parametrize("name", ["normal", "glorot_normal", "he_normal", "lecun_normal"])
def test_normal_schemes_have_the_kurtosis_of_a_gaussian(name):
    weight = sample(name)
    assert float((weight / weight.std()).pow(4).mean()) == pytest.approx(3.0, abs=0.1)


@pytest.mark.parametrize("shape", [(30, 50), (50, 30), (20, 20), (8, 3, 3, 3)])
def test_orthogonal_rows_or_columns_are_orthonormal(shape):
    weight = sample("orthogonal", shape).flatten(1)
    small = weight @ weight.T if shape[0] <= weight.shape[1] else weight.T @ weight
    torch.testing.assert_close(small, torch.eye(len(small), dtype=torch.float64), atol=1e-12, rtol=0)


def test_orthogonal_of_one_is_either_sign():
    # Haar measure on O(1): without the correction of signs, QR gives one sign only.
    signs = {float(sample("orthogonal", (1, 1), seed)) for seed in range(20)}
    assert signs == {-1.0, 1.0}


def test_fans_of_a_convolution_count_its_kernel():
    assert Fans.of((8, 3, 5, 5)) == Fans(fan_in=75, fan_out=200)


@pytest.mark.parametrize("name", ["he_normal", "glorot_uniform", "pytorch"])
def test_schemes_agree_with_torch_in_distribution(name):
    weight = torch.empty(SHAPE, dtype=torch.float64)
    {
        "he_normal": lambda: nn.init.kaiming_normal_(weight),
        "glorot_uniform": lambda: nn.init.xavier_uniform_(weight),
        "pytorch": lambda: nn.init.kaiming_uniform_(weight, a=math.sqrt(5)),
    }[name]()
    assert float(sample(name).std()) == pytest.approx(float(weight.std()), rel=0.02)


BIAS_STD = {
    "zeros": 0.0,
    "constant": 0.0,
    "uniform": 0.5 / math.sqrt(3),
    "normal": 0.5,
    "pytorch": 1 / math.sqrt(3 * 16),
}


@pytest.mark.parametrize("name", sorted(BIASES))
@pytest.mark.parametrize("value", [0.5, -0.5])
def test_bias_moments(name, value):
    bias = BIASES[name].sample(50_000, Fans(16, 16), value, stream(0, "bias"))
    assert float(bias.std()) == pytest.approx(BIAS_STD[name], rel=0.02)
    assert float(bias.mean()) == pytest.approx(value if name == "constant" else 0.0, abs=0.01)


@pytest.mark.parametrize("weight", sorted(WEIGHTS))
@pytest.mark.parametrize("bias", sorted(BIASES))
def test_every_weight_scheme_combines_with_every_bias_scheme(weight, bias):
    module = MLP((5,), 3, depth=2, width=4)
    found = initial_parameters(module, InitSpec(weight, 1.5, bias, 0.3), seed=1)
    assert {name: p.shape for name, p in found.items()} == {n: p.shape for n, p in module.named_parameters()}
    assert all(p.isfinite().all() for p in found.values())


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_scale_multiplies_and_zero_means_zeros(name):
    module = MLP((5,), 3)
    at = {s: initial_parameters(module, InitSpec(name, s), 0)["layers.1.weight"] for s in (0.0, 1.0, 2.5)}
    torch.testing.assert_close(at[2.5], 2.5 * at[1.0])
    assert float(at[0.0].abs().max()) == 0


def test_streams_are_each_their_own():
    module = MLP((5,), 3, depth=2, width=5)
    a = initial_parameters(module, InitSpec("normal", bias="normal", value=1.0), 0)
    b = initial_parameters(module, InitSpec("normal", bias="zeros"), 0)
    c = initial_parameters(module, InitSpec("normal"), 1)
    assert torch.equal(a["layers.1.weight"], b["layers.1.weight"])  # whatever the bias scheme
    assert not torch.equal(a["layers.1.weight"], c["layers.1.weight"])
    assert not torch.equal(a["layers.1.weight"], a["layers.3.weight"])  # layers of one shape differ


def test_normalisation_layers_keep_their_own_start():
    module = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2))
    found = initial_parameters(module, InitSpec("zeros", bias="constant", value=0.7), 0)
    assert torch.equal(found["1.weight"], torch.ones(4, dtype=torch.float64))
    assert torch.equal(found["1.bias"], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(found["0.bias"], torch.full((4,), 0.7, dtype=torch.float64))
