"""Schemes on the weights of convolutions, against torch.nn.init, the papers, and what they do to images."""

import math

import pytest
import torch
from torch import nn

from pipeline.init import BIASES, WEIGHTS, Fans, FitData, InitSpec, Slot, initial_parameters
from pipeline.models import CNN

SHAPE = (96, 40, 3, 3)  # fan-in 360, fan-out 864
# The standard deviation of each scheme at scale 1, from its formula; torch's own where it has one.
STD = {
    "uniform": 1 / math.sqrt(3),
    "normal": 1.0,
    "truncated_normal": 0.879626,
    "lecun_normal": math.sqrt(1 / 360),
    "lecun_uniform": math.sqrt(1 / 360),
    "glorot_normal": math.sqrt(2 / 1224),
    "glorot_uniform": math.sqrt(2 / 1224),
    "he_normal": math.sqrt(2 / 360),
    "he_uniform": math.sqrt(2 / 360),
    "pytorch": math.sqrt(1 / 1080),
    "orthogonal": math.sqrt(1 / 360),  # 96 orthonormal rows of 360
    "lsuv": math.sqrt(1 / 360),
    "mup": math.sqrt(1 / 360),
    "sparse": math.sqrt(15 / 360),
    "delta_orthogonal": math.sqrt(1 / 96 / 9),  # 40 orthonormal columns of 96, at one of nine places
    "rai": math.sqrt((360 * 0.6007**2 / 360 + 0.5) / 361 - (2 / 3 / 361) ** 2),
}
TORCH = {
    "glorot_normal": nn.init.xavier_normal_,
    "glorot_uniform": nn.init.xavier_uniform_,
    "he_normal": lambda w: nn.init.kaiming_normal_(w, nonlinearity="relu"),
    "he_uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="relu"),
    "lecun_normal": lambda w: nn.init.kaiming_normal_(w, nonlinearity="linear"),
    "lecun_uniform": lambda w: nn.init.kaiming_uniform_(w, nonlinearity="linear"),
    "orthogonal": nn.init.orthogonal_,
    "truncated_normal": nn.init.trunc_normal_,
    "pytorch": lambda w: w.copy_(nn.Conv2d(40, 96, 3, dtype=w.dtype).weight),
}


def sample(name: str, shape=SHAPE, seed: int = 0, role="hidden") -> torch.Tensor:
    return WEIGHTS[name].sample(Slot(shape, role, seed, "test.weight"))


def image(channels: int, size: int = 9) -> torch.Tensor:
    return torch.randn(2, channels, size, size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("shape", [(7, 5), (8, 3, 5), (8, 3, 5, 2), (4, 6, 3, 3, 3), (1, 1, 1, 1)])
def test_fans_are_those_of_torch(shape):
    expected = nn.init._calculate_fan_in_and_fan_out(torch.empty(shape))
    fans = Fans.of(shape)
    assert (fans.fan_in, fans.fan_out) == expected


@pytest.mark.parametrize("name", sorted(STD))
def test_standard_deviations(name):
    weight = sample(name)
    assert weight.shape == SHAPE
    # 34,560 draws: the standard error of the standard deviation is 0.4 % of it. Of sparse 1,440: 1.9 %.
    assert float(weight.std()) == pytest.approx(STD[name], rel=0.06 if name == "sparse" else 0.025)
    assert float(weight.mean()) == pytest.approx(2 / 3 / 361 if name == "rai" else 0.0, abs=0.03 * STD[name])


@pytest.mark.parametrize("name", sorted(TORCH))
def test_the_distribution_is_that_of_torch(name):
    """Quantiles of all entries, but for draws."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        expected = TORCH[name](torch.empty(SHAPE, dtype=torch.float64))
    shares = torch.tensor([0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98], dtype=torch.float64)
    found, expected = (w.flatten().quantile(shares) / STD[name] for w in (sample(name), expected))
    torch.testing.assert_close(found, expected, atol=0.06, rtol=0)


def test_only_the_last_layer_is_smaller_under_mup():
    assert float(sample("mup", role="last").std()) == pytest.approx(1 / 360, rel=0.025)


@pytest.mark.parametrize("shape", [(3, 3, 3, 3), (5, 3, 3, 5), (3, 5, 4, 2), (4, 4, 3), (2, 3, 3, 1, 3)])
def test_identity_is_dirac(shape):
    assert torch.equal(sample("identity", shape), nn.init.dirac_(torch.empty(shape, dtype=torch.float64)))


def test_sparse_keeps_15_weights_of_each_filter():
    weight = sample("sparse")
    assert set((weight.flatten(1) != 0).sum(1).tolist()) == {15}
    assert int((sample("sparse", (4, 1, 3, 3)) != 0).sum()) == 36  # a filter of fewer: all


def test_zero_init_acts_on_channels_at_the_centre_of_the_kernel():
    for out, inp in ((5, 8), (8, 8), (16, 5)):
        matrix = sample("zero_init", (out, inp))
        x = image(inp)
        mixed = torch.einsum("oi,bihw->bohw", matrix, x)
        torch.testing.assert_close(nn.functional.conv2d(x, sample("zero_init", (out, inp, 3, 3)), padding=1), mixed)


def test_row_tied_channels_are_copies():
    maps = nn.functional.conv2d(image(40), sample("row_tied"))
    torch.testing.assert_close(maps, maps[:, :1].expand_as(maps))
    assert len(sample("row_tied")[0].unique()) == 360


def test_column_tied_reads_every_channel_alike():
    weight, x = sample("column_tied"), image(40)
    shuffled = x[:, torch.randperm(40, generator=torch.Generator().manual_seed(2))]
    torch.testing.assert_close(nn.functional.conv2d(x, weight), nn.functional.conv2d(shuffled, weight))
    # Of positions and output channels nothing is said.
    assert len(weight.unique()) == 96 * 9
    assert float(weight.std()) == pytest.approx(math.sqrt(2 / 1224), rel=0.1)


def test_tied_is_one_number():
    assert len(sample("tied").unique()) == 1


@pytest.mark.parametrize("shape", [(6, 6, 3, 3), (9, 4, 3, 3), (7, 3, 5, 3)])
def test_delta_orthogonal_keeps_the_norm_at_every_position(shape):
    """Dynamical isometry, Xiao et al. 2018: exact for a linear layer whose channels don't shrink."""
    x = image(shape[1])
    maps = nn.functional.conv2d(x, sample("delta_orthogonal", shape), padding=(shape[2] // 2, shape[3] // 2))
    torch.testing.assert_close(maps.norm(dim=1), x.norm(dim=1))
    # The orthogonal filters of the flattened matrix don't.
    maps = nn.functional.conv2d(x, sample("orthogonal", shape), padding=(shape[2] // 2, shape[3] // 2))
    assert float((maps.norm(dim=1) / x.norm(dim=1) - 1).abs().max()) > 0.1


def test_delta_orthogonal_of_fewer_channels_has_orthonormal_rows():
    centre = sample("delta_orthogonal", (4, 9, 3, 3))[:, :, 1, 1]
    torch.testing.assert_close(centre @ centre.T, torch.eye(4, dtype=torch.float64))


def test_delta_orthogonal_of_a_linear_layer_is_orthogonal():
    assert torch.equal(sample("delta_orthogonal", (20, 30)), sample("orthogonal", (20, 30)))


def test_rai_has_one_beta_entry_in_each_filter_and_bias_together():
    network = nn.Conv2d(4, 20_000, 3)
    found = initial_parameters(network, InitSpec("rai", bias="rai"), 0)
    joint = torch.cat([found["weight"].flatten(1), found["bias"][:, None]], 1)
    assert float(joint.square().sum(1).mean()) == pytest.approx(0.6007**2 * 36 / 36 + 0.5, rel=0.02)
    sigma = 0.6007 / 6
    in_bias = float((found["bias"] > 6 * sigma).double().mean())
    assert in_bias == pytest.approx((1 - (6 * sigma) ** 2) / 37, rel=0.2)


def test_the_default_bias_is_that_of_torch():
    bias = BIASES["pytorch"].sample(Slot((50_000, 4, 3, 3), "hidden", 0, "b"), 0.0)
    expected = nn.Conv2d(4, 50_000, 3).bias.detach()
    assert float(bias.std()) == pytest.approx(float(expected.std()), rel=0.02)
    assert float(bias.abs().max()) <= 1 / 6


@pytest.fixture(scope="module")
def images() -> FitData:
    g = torch.Generator().manual_seed(3)
    x = torch.randn(64, 2, 12, 12, generator=g, dtype=torch.float64) + 0.5
    return FitData(x, torch.arange(64) % 3, 3)


def products(network: CNN, found: dict[str, torch.Tensor], x: torch.Tensor):
    """``W x`` of every weighted layer, and its biases, by running the layers one by one."""
    h = x
    for name, layer in network.layers.named_children():
        if f"layers.{name}.weight" in found:
            weight, bias = found[f"layers.{name}.weight"], found[f"layers.{name}.bias"]
            product = nn.functional.conv2d(h, weight, padding=1) if weight.ndim == 4 else h @ weight.T
            yield name, product, bias
            h = product + bias.reshape(-1, *[1] * (product.ndim - 2))
        else:
            h = layer(h)


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_lsuv_gives_every_layer_unit_variance_over_channels_and_positions(pooling, images):
    network = CNN((2, 12, 12), 3, depth=2, width=4, convs=3, hidden=8, pooling=pooling)
    found = initial_parameters(network, InitSpec("lsuv", bias="normal", value=0.3), 0, images)
    seen = list(products(network, found, images.x))
    assert len(seen) == 8
    for name, product, _ in seen:
        assert float(product.std(correction=0)) == pytest.approx(1, abs=1e-9), name


def test_data_centred_biases_centre_every_channel(images):
    network = CNN((2, 12, 12), 3, depth=2, width=4, hidden=8)
    found = initial_parameters(network, InitSpec("he_normal", bias="data_centred"), 0, images)
    for name, product, bias in products(network, found, images.x):
        means = product.movedim(1, 0).flatten(1).mean(1)
        torch.testing.assert_close(means + bias, torch.zeros_like(bias), atol=1e-12, rtol=0, msg=name)


def test_fitted_schemes_look_at_no_more_of_large_images_than_they_need():
    """256 rows of 64 x 64 positions are enough; what further rows hold changes nothing."""
    g = torch.Generator().manual_seed(4)
    x = torch.randn(300, 1, 64, 64, generator=g, dtype=torch.float64)
    network = CNN((64, 64), 3, depth=1, width=1)
    y = torch.zeros(300, dtype=torch.int64)
    fit = [FitData(rows[:, 0], y, 3) for rows in (x, torch.cat([x[:256], 5 * x[256:]]))]
    a, b = (initial_parameters(network, InitSpec("lsuv", bias="log_prior"), 0, data) for data in fit)
    assert all(torch.equal(a[name], b[name]) for name in a)
    changed = FitData(5 * x[:, 0], y, 3)
    c = initial_parameters(network, InitSpec("lsuv"), 0, changed)
    torch.testing.assert_close(5 * c["layers.conv1.weight"], a["layers.conv1.weight"])


@pytest.mark.parametrize("weight", sorted(WEIGHTS))
def test_every_scheme_gives_a_cnn_finite_weights_of_its_shapes(weight, images):
    network = CNN((2, 12, 12), 3, depth=2, width=4, hidden=8)
    found = initial_parameters(network, InitSpec(weight, 1.5, "data_centred"), 1, images)
    assert {n: p.shape for n, p in found.items()} == {n: p.shape for n, p in network.named_parameters()}
    assert all(p.isfinite().all() for p in found.values())
