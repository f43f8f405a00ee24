"""Convolutions as matrix products: both ways to form them against loops, forward and backward."""

import numpy as np
import pytest

from lutgen.train.conv import Dense, Taps, Window
from lutgen.train.hot import one_hot

CASES = range(24)


def geometry(seed):
    """A window, an image that it fits, and numbers to fill both."""
    rng = np.random.default_rng(seed)
    while True:
        kernel, stride = (tuple(rng.integers(1, 5, size=2).tolist()) for _ in range(2))
        pad = tuple(rng.integers(0, 4, size=4).tolist()) if seed % 4 else (0, 0, 0, 0)
        window = Window(kernel, stride, pad)
        height, width = rng.integers(1, 9, size=2).tolist()
        if min(window.out(height, width)) > 0:
            return rng, window, (int(rng.integers(1, 4)), int(rng.integers(1, 4)), height, width)


def numbers(rng, *shape):
    """Small whole numbers, which float32 adds exactly."""
    return rng.integers(-4, 5, size=shape).astype(np.float32)


def windows(window, x):
    """Every kernel window ``[kh, kw, C, batch, rows, columns]``, by loops."""
    (kh, kw), (sh, sw), (top, left, _, _) = window.kernel, window.stride, window.pad
    c, batch, height, width = x.shape
    rows, columns = window.out(height, width)
    result = np.zeros((kh, kw, c, batch, rows, columns), dtype=x.dtype)
    for ty, tx, row, column in np.ndindex(kh, kw, rows, columns):
        y, z = row * sh + ty - top, column * sw + tx - left
        if 0 <= y < height and 0 <= z < width:
            result[ty, tx, :, :, row, column] = x[:, :, y, z]
    return result


def both(window, shape):
    """The two ways, and the layout of the window that each takes its matrix in."""
    taps, c = window.kernel[0] * window.kernel[1], shape[0]
    yield Taps(c, window), lambda m: m
    yield Dense(taps * c, window), lambda m: m.reshape(1, taps * c, -1)
    chw = Dense(taps * c, window, "chw")
    yield chw, lambda m: m.transpose(1, 0, 2).reshape(1, taps * c, -1)


def test_window():
    window = Window((3, 2), (2, 1), (1, 0, 0, 2))
    assert window.out(5, 4) == (2, 5)
    x = np.arange(20.0).reshape(1, 5, 4)
    padded = window.padded(x)
    assert padded.shape == (1, 6, 6)
    assert padded.sum() == x.sum()
    np.testing.assert_array_equal(window.cropped(padded), x)
    taps = [(ty, tx) for ty, tx, _ in window.slices(5, 4)]
    assert taps == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
    assert Window((3, 3)).out(2, 9) == (0, 7)
    assert Window((1, 1)).padded(x) is x


@pytest.mark.parametrize("seed", CASES)
def test_products(seed):
    rng, window, shape = geometry(seed)
    x, n = numbers(rng, *shape), 3
    taps = window.kernel[0] * window.kernel[1]
    matrix = numbers(rng, taps, shape[0], n)
    want = np.einsum(
        "tcbyx,tcn->nbyx",
        windows(window, x).reshape(taps, *shape[:2], *window.out(*shape[2:])),
        matrix,
    )
    for rows, laid in both(window, shape):
        placed = rows.place(rows.rows(x), shape)
        got = rows.product(laid(matrix), placed, shape)
        np.testing.assert_array_equal(got, want, err_msg=f"{rows} {window} {shape}")
        assert got.dtype == np.float32
        double = rows.place(rows.rows(x.astype(np.float64)), shape)
        assert rows.product(laid(matrix), double, shape).dtype == np.float64


@pytest.mark.parametrize("seed", CASES)
def test_gradients(seed):
    """The product is linear in both factors: its gradients are exact, whatever is multiplied."""
    rng, window, shape = geometry(seed)
    x, n = numbers(rng, *shape), 2
    taps = window.kernel[0] * window.kernel[1]
    matrix = numbers(rng, taps, shape[0], n)
    seen = windows(window, x).reshape(taps, *shape[:2], *window.out(*shape[2:]))
    gradient = numbers(rng, n, *seen.shape[2:])
    by_matrix = np.einsum("tcbyx,nbyx->tcn", seen, gradient)
    other = numbers(rng, *shape)  # <gradient by x, other> is the change of the loss along other
    moved = np.einsum(
        "tcbyx,tcn,nbyx->", windows(window, other).reshape(seen.shape), matrix, gradient
    )
    for rows, laid in both(window, shape):
        placed, spread = rows.place(rows.rows(x), shape), rows.spread(gradient, shape)
        got = rows.by_matrix(placed, spread, rows.features, n)
        np.testing.assert_array_equal(got, laid(by_matrix), err_msg=f"{rows} {window} {shape}")
        back = rows.back(rows.by_rows(laid(matrix), spread, shape), shape)
        assert back.shape == shape
        assert (back * other).sum() == moved


@pytest.mark.parametrize("seed", CASES)
def test_columns(seed):
    rng, window, shape = geometry(seed)
    x = numbers(rng, *shape)
    seen = windows(window, x)
    rows = Taps(shape[0], window)
    found = dict(rows.columns(rows.place(rows.rows(x), shape), shape))
    assert sorted(found) == list(range(rows.taps))
    for number, columns in found.items():
        want = seen[divmod(number, window.kernel[1])].reshape(shape[0], -1)
        np.testing.assert_array_equal(columns, want)
    dense = Dense(rows.taps * shape[0], window)
    ((number, columns),) = dense.columns(dense.place(dense.rows(x), shape), shape)
    assert number == 0
    np.testing.assert_array_equal(columns, seen.reshape(dense.features, -1))


@pytest.mark.parametrize("seed", CASES)
def test_one_hot_rows(seed):
    """Placed indices are the placed one-hot rows: what lies outside the image has no centroid."""
    rng, window, shape = geometry(seed)
    groups, centroids = 2, 3
    for rows, _ in both(window, shape):
        length = rows.rows(numbers(rng, *shape)).shape[1]
        index = rng.integers(0, centroids, size=(groups, length))
        hot = rows.place_hot(index, centroids, shape)
        want = rows.place(one_hot(index, centroids), shape)
        assert len(hot) == len(want)
        for a, b in zip(hot, want, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("seed", CASES)
def test_products_of_one_hot_rows(seed):
    """Fetched, blocked or multiplied: as if the rows were any others."""
    rng, window, shape = geometry(seed)
    groups, centroids, n = 2, 3, 2
    for rows, _ in both(window, shape):
        index = rng.integers(0, centroids, size=(groups, rows.rows(numbers(rng, *shape)).shape[1]))
        placed, hot = rows.place_hot(index, centroids, shape), rows.hot(index, centroids, shape)
        table = numbers(rng, rows.taps, groups * centroids, n)
        want = rows.product(table, placed, shape)
        for kind in (np.float32, np.float64):
            got = rows.hot_product(rows.hot_table(table.astype(kind), centroids), hot, shape)
            assert got.dtype == kind
            np.testing.assert_array_equal(got, want)
        spread = rows.spread(numbers(rng, *want.shape), shape)
        np.testing.assert_array_equal(
            rows.hot_by_matrix(hot, spread, groups * centroids, n),
            rows.by_matrix(placed, spread, groups * centroids, n),
        )


def test_a_row_a_sample():
    rng = np.random.default_rng(1)
    x, matrix, gradient = numbers(rng, 5, 4), numbers(rng, 1, 5, 3), numbers(rng, 3, 4)
    rows = Dense(5)
    placed, spread = rows.place(rows.rows(x), x.shape), rows.spread(gradient, x.shape)
    np.testing.assert_array_equal(rows.product(matrix, placed, x.shape), matrix[0].T @ x)
    np.testing.assert_array_equal(rows.by_matrix(placed, spread, 5, 3)[0], x @ gradient.T)
    back = rows.back(rows.by_rows(matrix, spread, x.shape), x.shape)
    np.testing.assert_array_equal(back, matrix[0] @ gradient)
