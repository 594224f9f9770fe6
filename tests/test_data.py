import io
import zipfile

import numpy as np
import pytest
import torch
from conftest import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data import SOURCES, Raw, prepare, read_npz
from pipeline.data.npz import KEYS
from pipeline.errors import RunError, UsageError

MNIST = SHARED / "data" / "mnist.npz"


def good(rows: int = 60, classes: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    y = np.arange(rows) % classes
    x = rng.integers(0, 255, (rows, 4, 4)).astype(np.uint8)
    return {"x_train": x, "y_train": y, "x_test": x[:12], "y_test": y[:12]}


def save(path, **changes):
    arrays = good() | changes
    np.savez(path, **{k: v for k, v in arrays.items() if v is not None})
    return str(path)


@pytest.mark.parametrize(("name", "shape", "classes"), [("digits", 64, 10), ("wine", 13, 3), ("breast_cancer", 30, 2)])
def test_bundled_datasets(name, shape, classes):
    data = prepare(SOURCES[name](), 0, 0.2, 0.2)
    assert data.input_shape == (shape,)
    assert data.image_shape == ((1, 8, 8) if name == "digits" else None)
    assert data.n_classes == classes
    total = sum(map(len, (data.y_train, data.y_val, data.y_test)))
    assert len(data.y_test) == pytest.approx(0.2 * total, abs=1)
    assert len(data.y_val) == pytest.approx(0.2 * total, abs=1)


def test_standardised_on_the_training_part_only(digits):
    x = digits.x_train.double()
    torch.testing.assert_close(x.mean(0), torch.zeros(64, dtype=torch.float64), atol=1e-5, rtol=0)
    std = x.std(0, correction=0)
    assert all(abs(float(s) - 1) < 1e-4 or float(s) == 0 for s in std)
    assert float(digits.x_test.mean(0).abs().max()) > 1e-3  # the others are moved by the same, not to zero


def test_split_is_stratified_and_its_seed_its_own():
    raw = SOURCES["digits"]()
    a, b, c = (prepare(raw, seed, 0.2, 0.2) for seed in (0, 0, 1))
    assert torch.equal(a.x_train, b.x_train)
    assert a.digest == b.digest != c.digest
    assert not torch.equal(a.y_train, c.y_train)
    for y in (a.y_train, a.y_val, a.y_test):
        share = torch.bincount(y) / len(y)
        assert float((share - 0.1).abs().max()) < 0.01


def test_images_are_scaled_by_channel_and_get_a_channel_axis(tmp_path):
    data = prepare(read_npz(save(tmp_path / "a.npz")), 0, 0.2, 0.2)
    assert data.input_shape == (1, 4, 4)
    assert float(data.x_train.mean()) == pytest.approx(0, abs=1e-5)
    assert float(data.x_train.std(correction=0)) == pytest.approx(1, abs=1e-4)
    colour = np.random.default_rng(0).integers(0, 255, (60, 4, 4, 3)).astype(np.uint8)
    data = prepare(read_npz(save(tmp_path / "b.npz", x_train=colour, x_test=colour[:12])), 0, 0.2, 0.2)
    assert data.input_shape == data.image_shape == (3, 4, 4)
    assert data.to("cpu", torch.float64).image_shape == (3, 4, 4)
    assert data.mean.shape == (3, 1, 1)


def test_train_limit_is_stratified(digits):
    data = prepare(SOURCES["digits"](), 0, 0.2, 0.2, train_limit=100)
    assert torch.bincount(data.y_train).tolist() == [10] * 10
    assert torch.equal(data.y_test, digits.y_test)


@pytest.mark.skipif(not MNIST.exists(), reason="real MNIST is not beside the checkout")
def test_real_mnist():
    data = prepare(read_npz(str(MNIST)), 0, 0.2, 0.2)
    assert (len(data.y_train), len(data.y_val), len(data.y_test)) == (48_000, 12_000, 10_000)
    assert data.input_shape == (1, 28, 28)
    assert data.n_classes == 10


BROKEN = {
    "a missing array": ({"y_test": None}, "y_test"),
    "text labels": ({"y_train": np.array(["a"] * 60)}, "y_train"),
    "fractional labels": ({"y_train": np.arange(60) / 7}, "y_train"),
    "negative labels": ({"y_train": np.arange(60) % 3 - 1}, "out of range"),
    "labels with a gap": ({"y_train": np.arange(60) % 3 * 2}, "out of range"),
    "test labels out of range": ({"y_test": np.full(12, 7)}, "out of range"),
    "one class only": ({"y_train": np.zeros(60, int), "y_test": np.zeros(12, int)}, "one class"),
    "NaN": ({"x_train": np.full((60, 4, 4), np.nan)}, "NaN"),
    "infinity": ({"x_train": np.full((60, 4, 4), np.inf)}, "infinite"),
    "too large for float32": ({"x_train": np.full((60, 4, 4), 1e300)}, "float32"),
    "other row shapes": ({"x_test": np.zeros((12, 5, 5), np.uint8)}, "one shape"),
    "too few labels": ({"y_train": np.zeros(5, int)}, "one label a row"),
    "no rows": ({"x_train": np.zeros((0, 4, 4)), "y_train": np.zeros(0, int)}, "none 0"),
    "five axes": ({"x_train": np.zeros((60, 1, 1, 4, 4))}, "shape"),
    "complex numbers": ({"x_train": np.zeros((60, 4), complex)}, "numbers"),
    "pickled objects": ({"x_train": np.array([{}] * 60, dtype=object)}, "pickled"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_arrays_are_named(case, tmp_path):
    changes, expected = BROKEN[case]
    path = save(tmp_path / "broken.npz", **changes)
    with pytest.raises(UsageError, match=r"^dataset\.path=.*broken\.npz: ") as caught:
        read_npz(path)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_header_that_claims_more_than_the_file_holds(tmp_path):
    path = tmp_path / "huge.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for key in KEYS:
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**12,)})
            archive.writestr(f"{key}.npy", header.getvalue() + b"0123")
    with pytest.raises(UsageError, match="claims 4000000000"):
        read_npz(str(path))


def test_missing_file_and_folder(tmp_path):
    for path, expected in ((tmp_path / "none.npz", "no such file"), (tmp_path, "is no file but a folder")):
        with pytest.raises(UsageError, match=expected):
            read_npz(str(path))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8), st.booleans())
def test_damaged_files_never_end_in_a_traceback(tmp_path_factory, offset, junk, cut):
    path = tmp_path_factory.mktemp("damaged") / "d.npz"
    save(path)
    content = path.read_bytes()
    offset %= len(content)
    path.write_bytes(content[:offset] if cut else content[:offset] + junk + content[offset + len(junk) :])
    found: object
    try:
        found = read_npz(str(path))
    except UsageError as error:
        found = str(error)
    assert isinstance(found, Raw) or "\n" not in str(found)


def test_classes_too_small_to_split(tmp_path):
    y = np.zeros(60, int)
    y[0] = 1
    raw = read_npz(save(tmp_path / "rare.npz", y_train=y, y_test=np.zeros(12, int)))
    with pytest.raises(UsageError, match=r"dataset\.val_fraction=0\.2"):
        prepare(raw, 0, 0.2, 0.2)


def test_openml_without_a_network_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(RunError, match=r"dataset=mnist could not be fetched .* dataset\.path=FILE\.npz"):
        SOURCES["mnist"]()
