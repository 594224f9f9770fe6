"""Networks to look at: what zero, constant and tied inits must look like, and the file that keeps them."""

import numpy as np
import pytest

from pipeline.config import compose
from pipeline.exemplars import EXEMPLARS, SHOWN, UNITS, exemplar_jobs, exemplars_of, from_bytes, to_bytes
from pipeline.loading import load_dataset
from pipeline.pool import run_jobs


def shown(*overrides):
    config = compose(["trainer.epochs=3", "model.width=24", *overrides])
    jobs = exemplar_jobs(config)
    return {own.name: own for own in exemplars_of(jobs, run_jobs(jobs, lambda _: None), load_dataset(config))}


@pytest.fixture(scope="module")
def of_digits():
    return shown("weight_init.layers.first={name: orthogonal}", "bias_init.value=0.1")


def test_ties_are_seen_before_training_and_after_it(of_digits):
    assert list(of_digits) == list(EXEMPLARS)
    for name in ("zero", "constant", "tied"):
        before, after = of_digits[name].alike
        assert before.shape == (24, 24)
        assert np.all(before == 1), name
        assert np.all(after > 1 - 1e-5), name  # identical neurons stay copies
    best = of_digits["best"]
    off = ~np.eye(24, dtype=bool)
    assert best.alike[0][off].max() < 0.99
    assert best.accuracy > of_digits["zero"].accuracy + 0.3


def test_weights_are_pictures_of_images(of_digits):
    before, after = of_digits["zero"].weights
    assert before.shape == after.shape == (SHOWN, 1, 8, 8)
    assert not before.any()
    assert not np.ptp(of_digits["constant"].weights[0])


def test_likeness_is_the_correlation_of_activations(of_digits):
    """By numpy alone, for the best one."""
    from pipeline.init import initial_parameters
    from pipeline.runner import Job, member_of, network

    config = compose(["trainer.epochs=3", "model.width=24", "weight_init.layers.first={name: orthogonal}",
                      "bias_init.value=0.1"])  # fmt: skip
    data = load_dataset(config)
    start = initial_parameters(network(config, data), member_of(Job(config, 0)).init, 0)
    weight, bias = (start[f"layers.1.{name}"].numpy() for name in ("weight", "bias"))
    x = data.x_train[:256].double().flatten(1).numpy()
    expected = np.abs(np.corrcoef(np.tanh(x @ weight.T + bias).T))
    assert np.abs(of_digits["best"].alike[0] - expected).max() < 1e-5


def test_tables_have_rows_and_many_units_are_cut():
    found = shown("dataset=wine", "trainer.batch_size=16", "model.width=100")
    assert found["best"].weights[0].shape == (SHOWN, 13)
    assert found["best"].alike[0].shape == (UNITS, UNITS)


def test_channels_of_a_convolution_are_units():
    found = shown("model=cnn", "model.width=6", "model.depth=1")
    assert found["tied"].alike[0].shape == (6, 6)
    assert np.all(found["tied"].alike[1] > 1 - 1e-5)
    assert found["best"].weights[0].shape == (6, 1, 3, 3)


def test_the_file_holds_them_whole(of_digits):
    again = {own.name: own for own in from_bytes(to_bytes(list(of_digits.values())))}
    assert list(again) == list(of_digits)
    for name, own in of_digits.items():
        assert again[name].accuracy == own.accuracy
        assert all(np.array_equal(a, b) for a, b in zip(again[name].weights + again[name].alike,
                                                         own.weights + own.alike, strict=True))  # fmt: skip
