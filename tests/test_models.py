"""The networks that ship with the lab: their layers by name and shape, and what they refuse."""

import pytest
import torch
from torch import nn

from pipeline.activations import ACTIVATIONS
from pipeline.config import build_model, compose
from pipeline.errors import UsageError
from pipeline.layers import trace_layers
from pipeline.models import CNN, MLP, POOLINGS


def shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name.removeprefix("layers."): tuple(p.shape) for name, p in module.named_parameters() if p.ndim > 1}


def test_the_default_cnn_for_mnist():
    network = CNN((1, 28, 28), 10)
    assert shapes(network) == {
        "conv1.weight": (16, 1, 3, 3),
        "conv2.weight": (32, 16, 3, 3),
        "out.weight": (10, 32 * 7 * 7),
    }
    assert network(torch.zeros(5, 1, 28, 28)).shape == (5, 10)


def test_every_key_of_the_cnn_changes_the_network():
    network = CNN((3, 32, 32), 7, depth=3, width=4, convs=2, activation="gelu", pooling="avg", hidden=11)
    assert shapes(network) == {
        "conv1.weight": (4, 3, 3, 3),
        "conv2.weight": (4, 4, 3, 3),
        "conv3.weight": (8, 4, 3, 3),
        "conv4.weight": (8, 8, 3, 3),
        "conv5.weight": (16, 8, 3, 3),
        "conv6.weight": (16, 16, 3, 3),
        "dense.weight": (11, 16 * 4 * 4),
        "out.weight": (7, 11),
    }
    kinds = [type(m) for m in network.modules() if isinstance(m, nn.GELU | nn.AvgPool2d)]
    assert kinds == [*[nn.GELU, nn.GELU, nn.AvgPool2d] * 3, nn.GELU]
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize("pooling", sorted(POOLINGS))
def test_the_lab_sees_every_layer_of_the_cnn(activation, pooling):
    network = CNN((8, 8), 3, depth=2, width=3, activation=activation, pooling=pooling, hidden=5)
    layers = trace_layers(network, torch.zeros(2, 8, 8))
    assert [(la.name.removeprefix("layers."), la.activation and la.activation.name) for la in layers] == [
        ("conv1", activation),
        ("conv2", activation),
        ("dense", activation),
        ("out", None),
    ]
    assert [la.readers for la in layers] == [
        ("layers.conv2.weight",),
        ("layers.dense.weight",),
        ("layers.out.weight",),
        (),
    ]


def test_a_sample_is_the_same_image_in_every_form():
    images = torch.randn(4, 1, 9, 8, generator=torch.Generator().manual_seed(0))
    networks = [CNN((1, 9, 8), 3), CNN((9, 8), 3), CNN((72,), 3, image_shape=(1, 9, 8))]
    state = networks[0].state_dict()
    found = []
    for network in networks:
        network.load_state_dict(state)
        found.append(network(images.reshape(4, *_input_shape(network))))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])


def _input_shape(network: CNN) -> tuple[int, ...]:
    """Of the three networks above, by what they do first."""
    first = network.layers[0]
    return (1, 9, 8) if isinstance(first, nn.Conv2d) else (9, 8) if first.unflattened_size == (1, 9) else (72,)


def test_blocks_halve_the_image_and_drop_an_odd_rest():
    network = CNN((1, 28, 28), 10, depth=4, width=2)
    assert shapes(network)["out.weight"] == (10, 16)
    assert network(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@pytest.mark.parametrize("make", [lambda p: MLP((6,), 3, dropout=p), lambda p: CNN((8, 8), 3, hidden=4, dropout=p)])
def test_dropout_changes_no_name(make):
    assert list(make(0.0).state_dict()) == list(make(0.5).state_dict())
    assert not any(isinstance(m, nn.Dropout) for m in make(0.0).modules())


def test_dropout_of_the_cnn_stands_before_each_dense_layer():
    network = CNN((8, 8), 3, hidden=4, dropout=0.3)
    places = [name.removeprefix("layers.") for name, m in network.named_modules() if isinstance(m, nn.Dropout)]
    assert places == ["flat.1", "dense_act.1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_shape": (13,)}, r"^model=cnn: needs images, and the rows of the dataset have shape \(13,\)"),
        ({"input_shape": (2, 3, 4, 5)}, r"^model=cnn: needs images"),
        ({"input_shape": (8, 8), "depth": 4}, r"^model\.depth=4: must be at most 3, .* images of 8 x 8"),
        ({"input_shape": (3, 32, 5), "depth": 3}, r"^model\.depth=3: must be at most 2, .* images of 32 x 5"),
        ({"input_shape": (1, 1, 7), "depth": 1}, r"^model\.depth=1: must be at most 0"),
    ],
)
def test_what_is_no_image_or_too_small_is_said(arguments, message):
    with pytest.raises(UsageError, match=message):
        CNN(n_classes=3, **arguments)


def test_the_configured_cnn_gets_the_shape_of_flat_images():
    config = compose(["model=cnn", "model.depth=3", "model.width=2", "model.activation=tanh"])
    network = build_model(config.model, (64,), 10, (1, 8, 8))
    assert network(torch.zeros(3, 64)).shape == (3, 10)
    assert shapes(network)["conv3.weight"] == (8, 4, 3, 3)
    with pytest.raises(UsageError, match=r"^model=cnn: needs images"):
        build_model(config.model, (64,), 10)
