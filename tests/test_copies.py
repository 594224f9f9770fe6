"""The quick looks for copies against plain loops over members and pairs."""

import numpy as np
import oracles
import pytest
import torch
from networks import looked

from pipeline.probes import copies
from pipeline.probes.copies import functional_share, row_shares
from pipeline.probes.numeric import Spread, count_above, singular_values

SCALES = [1e-30, 1e-3, 1.0, 1e30]


def near_copies(rng: np.random.Generator, n: int, d: int, tolerance: float) -> np.ndarray:
    """Random rows of which some lie just within or just outside the tolerance of another."""
    rows = rng.normal(size=(n, d)) * rng.choice([1.0, 1.0, 0.01, 0.0], size=(n, 1), p=[0.5, 0.3, 0.15, 0.05])
    largest = max(np.linalg.norm(rows, axis=1).max(), 1e-3)
    for _ in range(rng.integers(0, 4)):
        i, j = rng.choice(n, 2, replace=False)
        step = rng.normal(size=d)
        rows[i] = rows[j] + step / np.linalg.norm(step) * largest * tolerance * rng.choice([0.0, 0.5, 0.99, 1.01, 3.0])
    return rows


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("n", "d"), [(2, 1), (9, 4), (40, 65)])
@pytest.mark.parametrize("native", [False, True])
def test_row_shares_against_a_loop(native, n, d, scale):
    rng = np.random.default_rng(n)
    members = np.stack([near_copies(rng, n, d, 1e-5) for _ in range(150)]) * scale
    if native:
        members = members.astype(np.float32)
    rows = torch.tensor(members)
    distinct, copying = row_shares(rows, native)
    columns = rows.mT.contiguous().mT
    assert_equal((distinct, copying), row_shares(columns, native))
    if d > 1:
        for whole in (rows, columns):
            begun = whole[..., :-1].contiguous() if whole is rows else whole.mT[:, :-1].contiguous().mT
            assert_equal((distinct, copying), row_shares(begun, native, whole[..., -1].contiguous()))
    for i, rows in enumerate(members.astype(np.float64) / scale):
        expected = oracles.effective_width(rows[:, :-1], rows[:, -1]) if d > 1 else None
        assert float(copying[i]) == oracles.copying_share(list(rows)), i
        assert expected is None or float(distinct[i]) == expected, i
    assert 0 < int((distinct < 1).sum()) < len(members)


def assert_equal(found, expected) -> None:
    assert [shares.tolist() for shares in found] == [shares.tolist() for shares in expected]


@pytest.mark.parametrize("native", [False, True])
def test_rows_of_a_wide_layer(native):
    """So many are looked at in another way."""
    rng = np.random.default_rng(0)
    rows = torch.tensor(rng.normal(size=(6, 700, 30)), dtype=torch.float32)
    rows[1, 699] = rows[1, 0]
    rows[2, 5] = rows[2, 6] * (1 + 1e-4)
    rows[4] = rows[4, :1]
    distinct, copying = row_shares(rows, native)
    assert (700 * distinct).round().tolist() == [700, 699, 700, 700, 1, 700]
    assert (700 * copying).round().tolist() == [0, 2, 0, 0, 700, 0]


def share(a: torch.Tensor, native: bool) -> torch.Tensor:
    found = looked(torch.zeros_like(a), a, "relu", native)
    return functional_share(found.low, found.high, found.may_copy, lambda chosen: a[chosen])


def spread_out(rng: np.random.Generator, samples: int, units: int) -> np.ndarray:
    """Activations in float32 with copies, mirrored ones, constant ones and ones that nearly are."""
    a = rng.normal(size=(samples, units)) + rng.choice([0.0, 3.0, 1000.0], size=units)
    for _ in range(rng.integers(0, 5)):
        i, j = rng.choice(units, 2, replace=False)
        kind = rng.integers(0, 5)
        if kind == 0:
            a[:, i] = rng.normal()
        elif kind == 1:  # a few roundings of float32 away from constant
            a[:, i] = 0.75 * (1 + rng.integers(0, 5, samples) * rng.choice([3e-8, 6e-8, 1.2e-7, 1e-6]))
        elif kind == 2:
            a[:, i] = np.maximum(a[:, i] - a[:, i].mean() - 2.5, 0.0)  # active on very few samples, if on any
        else:  # 1 - correlation is about this
            away = a[:, j] - a[:, j].mean()
            noise = rng.normal(size=samples) * away.std() * np.sqrt(2 * rng.choice([1e-7, 5e-6, 3e-5, 1e-3]))
            a[:, i] = rng.choice([-2.0, 0.5]) * (a[:, j] + noise)
    return a.astype(np.float32)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("samples", "units"), [(64, 2), (33, 6), (256, 20)])
@pytest.mark.parametrize("native", [False, True])
def test_functional_share_against_a_loop(native, samples, units, scale):
    rng = np.random.default_rng(samples)
    members = np.stack([spread_out(rng, samples, units) for _ in range(100)]) * np.float32(2.0 ** round(np.log2(scale)))
    a = torch.tensor(members)
    found = share(a, native)
    for i, own in enumerate(members.astype(np.float64)):
        assert float(found[i]) == pytest.approx(oracles.functional_width(own), abs=1e-12), i
    assert 0 < int((found < 1).sum()) < len(members)


@pytest.mark.parametrize("native", [False, True])
def test_what_is_plainly_apart_is_not_compared_in_pairs(native, monkeypatch):
    """What is quick must not only be right."""
    rng = torch.Generator().manual_seed(1)
    a, rows = torch.randn(50, 256, 64, generator=rng), torch.randn(50, 64, 65, generator=rng)
    for name in ("functional_copies", "squared_distances"):
        monkeypatch.delattr(copies, name)
    assert share(a, native).tolist() == [1.0] * 50
    assert [share.tolist() for share in row_shares(rows, native)] == [[1.0] * 50, [0.0] * 50]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [*SCALES, 0.0])
def test_spread_of_each_unit(dtype, scale):
    rng = np.random.default_rng(0)
    a = torch.tensor(rng.normal(size=(3, 96, 5)) + np.array([0, 1, 30, 1000, 0]), dtype=dtype) * scale
    a[:, :, 4] = scale
    found, exact = Spread.of(a), a.numpy().astype(np.float64)
    np.testing.assert_array_equal(found.size, np.abs(exact).max(1))
    precision = 1e-6 if dtype == torch.float32 else 1e-13
    np.testing.assert_allclose(found.mean, exact.mean(1), atol=precision * scale)
    np.testing.assert_allclose(found.variance, exact.var(1), rtol=10 * precision, atol=1e-14 * scale**2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_counts_are_exact(dtype):
    z = torch.randn(3, 1000, 7, dtype=dtype).round(decimals=1)
    for threshold in (-0.5, 0.0, 1.0, 9.0):
        expected = (z.double() > torch.tensor(threshold, dtype=dtype).double()).sum(1)
        assert torch.equal(count_above(z, threshold), expected.double())


def test_units_that_cancel_in_every_part_are_not_overlooked():
    """What the quick look adds up is 0 for both, though they vary, and are copies."""
    alternating = torch.tensor([1.0, -1.0]).repeat(32)
    a = torch.stack([alternating, -2 * alternating, torch.arange(64.0)], 1)[None]
    for native in (False, True):
        assert share(a, native).tolist() == [pytest.approx(2 / 3)]


@pytest.mark.parametrize("shape", [(8, 8), (5, 13), (13, 5), (1, 4)])
def test_singular_values_by_the_gram_matrix(shape):
    rng = np.random.default_rng(0)
    members = [rng.normal(size=shape) * 10.0**k for k in (-200, -3, 0, 150)]
    members += [np.ones(shape), np.zeros(shape), np.outer(rng.normal(size=shape[0]), rng.normal(size=shape[1]))]
    found = singular_values(torch.tensor(np.stack(members))).numpy()
    for values, matrix in zip(found, members, strict=True):
        expected = np.linalg.svd(matrix / (np.abs(matrix).max() or 1.0), compute_uv=False)[::-1]
        np.testing.assert_allclose(values, expected, atol=1e-7 * expected.max(), rtol=0)
        np.testing.assert_allclose(values[-1], expected[-1], rtol=1e-14)
        assert (values[expected < 1e-12 * expected.max()] == 0).all()
