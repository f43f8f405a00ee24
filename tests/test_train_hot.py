"""Products with one-hot rows, against rows that are formed and multiplied."""

import numpy as np
import pytest

from lutgen.train import hot
from lutgen.train.hot import Fetched, by_table, looked_up, one_hot


def test_one_hot():
    rows = one_hot(np.array([[0, 2], [1, 1]]), 3)
    np.testing.assert_array_equal(rows.T, [[1, 0, 0, 0, 1, 0], [0, 0, 1, 0, 1, 0]])
    many = one_hot(np.array([[299, 43]]), 300)  # 299 - 256 is 43
    assert many.sum(axis=1).nonzero()[0].tolist() == [43, 299]
    np.testing.assert_array_equal(many[[299, 43]], [[1, 0], [0, 1]])


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize(
    ("low", "high"),
    [
        (-128, 127),
        (-3, 0),
        (9000, 9127),  # sums leave 16 bits, differences do not
        (-30000, 30000),  # both do
        (-(2**40), 2**40),  # beyond float32
    ],
)
def test_sums_of_integers_are_exact(low, high, blocks, monkeypatch):
    if blocks:
        monkeypatch.setattr(hot, "FETCHED", 1)
    rng = np.random.default_rng(high % 1000)
    table = rng.integers(low, high, (9, 4, 3), endpoint=True)
    table[:, :2] = np.array([low, high])[:, None]
    index = rng.integers(0, 4, (9, 200))
    want = sum(table[g, index[g]] for g in range(9)).T
    kind = np.float64 if high > 1 << 20 else np.float32
    got = looked_up(Fetched(table.astype(kind)), index)
    assert got.dtype == kind
    np.testing.assert_array_equal(got, want)


def test_sums_just_within_and_just_beyond_16_bits():
    for most in ((1 << 16) - 1, 1 << 16):
        table = np.zeros((2, 2, 1), dtype=np.float32)
        table[0, 1], table[1, 1] = most - 7, 7
        got = looked_up(Fetched(table), np.array([[1, 0, 1], [1, 1, 0]]))
        np.testing.assert_array_equal(got, [[most, 7, most - 7]])


def test_sums_of_fractions():
    rng = np.random.default_rng(1)
    table = rng.standard_normal((5, 4, 3)).astype(np.float32)
    index = rng.integers(0, 4, (5, 70))
    want = table.reshape(20, 3).T @ one_hot(index, 4)
    np.testing.assert_allclose(looked_up(Fetched(table), index), want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 40, 1 << 18])
def test_gradients_by_tables_are_sums_by_index(size, monkeypatch):
    monkeypatch.setattr(hot, "HOT", size)
    monkeypatch.setattr(hot, "LENGTH", 32)
    rng = np.random.default_rng(2)
    index = rng.integers(0, 4, (5, 70))
    gradient = rng.integers(-9, 9, (3, 70)).astype(np.float32)
    want = np.zeros((5, 4, 3))
    for g in range(5):
        for at, j in enumerate(index[g]):
            want[g, j] += gradient[:, at]
    np.testing.assert_array_equal(by_table(index, gradient, 4), want.reshape(20, 3))
