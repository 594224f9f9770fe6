import math

import pytest
import torch
from networks import fit_data
from torch import nn

from pipeline.init import BIASES, WEIGHTS, FitData, InitSpec, Slot, initial_parameters, roles
from pipeline.models import MLP

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
    "delta_orthogonal": math.sqrt(1 / 300),
    "pytorch": math.sqrt(1 / 600),
    "truncated_normal": 0.879626,
    "lecun_uniform": math.sqrt(1 / 200),
    "lsuv": math.sqrt(1 / 300),
    "mup": math.sqrt(1 / 200),
    "sparse": math.sqrt(15 / 200),
    # 200 of 201 from N(0, 0.6007^2/200), one from Beta(2, 1), whose square has mean 1/2.
    "rai": math.sqrt((200 * 0.6007**2 / 200 + 0.5) / 201 - (2 / 3 / 201) ** 2),
}
# Structure instead of moments: tested below, each on its own.
STRUCTURED = {"identity", "zero_init", "row_tied", "column_tied", "tied"}
BOUND = {
    "uniform": 1.0,
    "glorot_uniform": math.sqrt(6 / 500),
    "he_uniform": math.sqrt(6 / 200),
    "pytorch": math.sqrt(1 / 200),
    "truncated_normal": 2.0,
    "lecun_uniform": math.sqrt(3 / 200),
}


def sample(name: str, shape=SHAPE, seed: int = 0, role="hidden") -> torch.Tensor:
    return WEIGHTS[name].sample(Slot(shape, role, seed, "test.weight"))


def test_every_scheme_has_its_moments_listed():
    assert set(STD) | STRUCTURED == set(WEIGHTS)


@pytest.mark.parametrize("name", sorted(STD))
def test_moments(name):
    weight = sample(name)
    assert weight.shape == SHAPE
    assert weight.dtype == torch.float64
    # 60,000 draws: the standard error of the standard deviation is 0.3 % of it.
    assert float(weight.std()) == pytest.approx(STD[name], rel=0.015)
    expected_mean = {"constant": 1.0, "rai": 2 / 3 / 201}.get(name, 0.0)
    assert float(weight.mean()) == pytest.approx(expected_mean, abs=0.02 * max(STD[name], 1e-9))
    if name in BOUND:
        assert float(weight.abs().max()) <= BOUND[name]
        assert float(weight.abs().max()) > 0.998 * BOUND[name]


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
    "data_centred": 0.0,
    "log_prior": 0.0,
    "rai": math.sqrt((16 * 0.6007**2 / 16 + 0.5) / 17 - (2 / 3 / 17) ** 2),
}


@pytest.mark.parametrize("name", sorted(BIASES))
@pytest.mark.parametrize("value", [0.5, -0.5])
def test_bias_moments(name, value):
    bias = BIASES[name].sample(Slot((50_000, 16), "hidden", 0, "test.bias"), value)
    assert float(bias.std()) == pytest.approx(BIAS_STD[name], rel=0.02)
    assert float(bias.mean()) == pytest.approx({"constant": value, "rai": 2 / 3 / 17}.get(name, 0.0), abs=0.01)


@pytest.mark.parametrize("weight", sorted(WEIGHTS))
@pytest.mark.parametrize("bias", sorted(BIASES))
def test_every_weight_scheme_combines_with_every_bias_scheme(weight, bias):
    module = MLP((5,), 3, depth=2, width=4)
    found = initial_parameters(module, InitSpec(weight, 1.5, bias, 0.3), 1, fit_data(5))
    assert {name: p.shape for name, p in found.items()} == {n: p.shape for n, p in module.named_parameters()}
    assert all(p.isfinite().all() for p in found.values())


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_scale_multiplies_and_zero_means_zeros(name):
    module = MLP((5,), 3)
    scales = (0.0, 1.0, 2.5)
    at = {s: initial_parameters(module, InitSpec(name, s), 0, fit_data(5))["layers.1.weight"] for s in scales}
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


def test_truncated_normal_is_the_cut_gaussian():
    weight = sample("truncated_normal").flatten()
    inside = math.erf(2 / math.sqrt(2))
    for edge in (-1.5, -0.5, 0.0, 1.0):
        below = 0.5 * (1 + math.erf(edge / math.sqrt(2))) - 0.5 * (1 - inside)
        assert float((weight < edge).double().mean()) == pytest.approx(below / inside, abs=0.01)


def test_sparse_keeps_15_weights_a_unit():
    weight = sample("sparse")
    assert set((weight != 0).sum(1).tolist()) == {15}
    assert float(weight[weight != 0].std()) == pytest.approx(1, abs=0.05)
    assert int((sample("sparse", (7, 4)) != 0).sum()) == 28  # fewer inputs than 15: all
    assert len({tuple(row.nonzero().flatten().tolist()) for row in weight}) > 250


def test_tied_schemes_are_tied_as_they_say():
    row, column, all_ = (sample(name) for name in ("row_tied", "column_tied", "tied"))
    assert torch.equal(row, row[:1].expand_as(row))
    assert row.unique(dim=1).shape[1] == 200
    assert torch.equal(column, column[:, :1].expand_as(column))
    assert column.unique(dim=0).shape[0] == 300
    assert len(all_.unique()) == 1
    spread = torch.stack([sample("tied", (30, 20), seed)[0, 0] for seed in range(400)])
    assert float(spread.std()) == pytest.approx(math.sqrt(2 / 50), rel=0.1)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
def test_identity(shape):
    weight = sample("identity", shape)
    assert torch.equal(weight, torch.eye(*shape, dtype=torch.float64))


def test_zero_init_is_identity_or_scaled_hadamard():
    assert torch.equal(sample("zero_init", (5, 8)), torch.eye(5, 8, dtype=torch.float64))
    assert torch.equal(sample("zero_init", (8, 8)), torch.eye(8, dtype=torch.float64))
    grown = sample("zero_init", (16, 5))
    torch.testing.assert_close(grown.T @ grown, torch.eye(5, dtype=torch.float64), atol=1e-12, rtol=0)
    assert set(grown.abs().flatten().tolist()) == {0.25}
    # Rank is what a growing identity alone would restrict (Zhao et al. 2022, theorem 1).
    assert int((sample("zero_init", (300, 200)) != 0).sum()) == 300 * 200


def test_mup_is_smaller_in_the_last_layer():
    stds = {role: float(sample("mup", role=role).std()) for role in ("first", "hidden", "last")}
    assert stds["first"] == stds["hidden"] == pytest.approx(math.sqrt(1 / 200), rel=0.01)
    assert stds["last"] == pytest.approx(1 / 200, rel=0.01)


def test_rai_has_one_entry_a_unit_from_beta_2_1_in_weight_and_bias_together():
    module = MLP((40,), 2, depth=1, width=20_000, activation="relu")
    found = initial_parameters(module, InitSpec("rai", bias="rai"), 0)
    joint = torch.cat([found["layers.1.weight"], found["layers.1.bias"][:, None]], 1)
    sigma = 0.6007 / math.sqrt(40)
    squares = joint.square().sum(1)
    assert float(squares.mean()) == pytest.approx(40 * sigma**2 + 0.5, rel=0.02)
    # Dead at birth with probability below a half on positive data: that is what it is for.
    assert float((joint.sum(1) > 0).double().mean()) > 0.6
    share_in_bias = float((found["layers.1.bias"] > 6 * sigma).double().mean())
    assert share_in_bias == pytest.approx((1 - (6 * sigma) ** 2) / 41, rel=0.2)


@pytest.mark.parametrize("bias", ["zeros", "normal", "pytorch"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "gelu", "softsign"])
def test_lsuv_reaches_unit_variance_at_depth_20(activation, bias, digits):
    module = MLP((64,), 10, depth=20, width=48, activation=activation).double()
    data = FitData.of(digits.x_train, digits.y_train, 10)
    found = initial_parameters(module, InitSpec("lsuv", bias=bias, value=0.3), 0, data)
    untouched = initial_parameters(module, InitSpec("orthogonal", bias=bias, value=0.3), 0)
    h = data.x
    for i in range(21):
        weight, b = found[f"layers.{2 * i + 1}.weight"], found[f"layers.{2 * i + 1}.bias"]
        assert torch.equal(b, untouched[f"layers.{2 * i + 1}.bias"])
        product = h @ weight.T
        assert float(product.var(correction=0)) == pytest.approx(1, abs=1e-9)
        h = module.layers[2](product + b)


def test_lsuv_multiplies_by_the_scale(digits):
    module = MLP((64,), 10, depth=1, width=8)
    data = FitData.of(digits.x_train, digits.y_train, 10)
    found = initial_parameters(module, InitSpec("lsuv", 0.5), 0, data)
    assert float((data.x @ found["layers.1.weight"].T).std(correction=0)) == pytest.approx(0.5)


@pytest.mark.parametrize("weight", ["glorot_normal", "lsuv"])
def test_data_centred_biases_make_mean_pre_activations_zero(weight, digits):
    module = MLP((64,), 10, depth=3, width=16, activation="relu").double()
    data = FitData.of(digits.x_train, digits.y_train, 10)
    found = initial_parameters(module, InitSpec(weight, bias="data_centred"), 0, data)
    h = data.x
    for i in (1, 3, 5, 7):
        z = h @ found[f"layers.{i}.weight"].T + found[f"layers.{i}.bias"]
        assert float(z.mean(0).abs().max()) < 1e-12
        h = torch.relu(z)


def test_log_prior_makes_the_untrained_network_predict_the_class_shares():
    module = MLP((4,), 3, depth=1, width=5)
    y = torch.tensor([0] * 6 + [1] * 3 + [2])
    data = FitData(torch.randn(10, 4, dtype=torch.float64), y, 3)
    found = initial_parameters(module, InitSpec("zeros", bias="log_prior"), 0, data)
    torch.testing.assert_close(found["layers.3.bias"].exp(), torch.tensor([0.6, 0.3, 0.1], dtype=torch.float64))
    assert float(found["layers.1.bias"].abs().max()) == 0
    missing = initial_parameters(module, InitSpec("zeros", bias="log_prior"), 0, FitData(data.x, y.clamp(max=1), 3))
    assert missing["layers.3.bias"].isfinite().all()


def test_data_dependent_schemes_ask_for_data():
    with pytest.raises(ValueError, match="needs training data"):
        initial_parameters(MLP((4,), 3), InitSpec("lsuv"), 0)


def test_places_can_have_schemes_of_their_own():
    module = MLP((4,), 3, depth=3, width=5)
    spec = InitSpec(
        "normal",
        1.0,
        "constant",
        0.5,
        {"last": ("zeros", 1.0), "first": ("constant", 0.25)},
        {"hidden": ("zeros", 0.0)},
    )
    found = initial_parameters(module, spec, 0)
    plain = initial_parameters(module, InitSpec("normal", 1.0, "constant", 0.5), 0)
    assert float(found["layers.7.weight"].abs().max()) == 0
    assert set(found["layers.1.weight"].flatten().tolist()) == {0.25}
    assert torch.equal(found["layers.3.weight"], plain["layers.3.weight"])
    assert float(found["layers.3.bias"].abs().max()) == 0
    assert set(found["layers.1.bias"].tolist()) == set(found["layers.7.bias"].tolist()) == {0.5}
    assert list(roles(module).values()) == ["first", "hidden", "hidden", "last"]
