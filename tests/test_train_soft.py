"""Gradients through a soft choice of centroids, against differences."""

import numpy as np
import pytest
from test_train_lookups import KINDS, geometry, inputs, make, slopes

from lutgen.numeric import Format
from lutgen.spec import METRICS
from lutgen.train.soft import soft_gradient

EPSILON = 1e-5


def distances(x, books, metric):
    """``[g, c, L]``, in float64."""
    differences = np.abs(x[:, None] - books[..., None].astype(np.float64))
    if metric == "chebyshev":
        return differences.max(axis=2)
    return (differences if metric == "l1" else differences**2).sum(axis=2)


def temperature(x, books, metric):
    """``[g, 1, 1]``: how much farther the second centroid is than the nearest."""
    first, second = np.sort(distances(x, books, metric), axis=1)[:, :2].transpose(1, 0, 2)
    return (second - first).mean(axis=1)[:, None, None]


def choice(x, books, metric, gap):
    """Probabilities ``[g, c, L]``."""
    weights = np.exp(-distances(x, books, metric) / gap)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("seed", range(4))
def test_the_gradient_is_that_of_a_softmax_over_distances(metric, seed):
    rng = np.random.default_rng(seed)
    groups, c, v, length = (int(n) for n in rng.integers((1, 2, 1, 1), (4, 9, 6, 5)))
    books = rng.integers(-20, 21, (groups, c, v))
    x = rng.uniform(-20, 20, (groups, v, length))
    worth = rng.standard_normal((groups, c, length))
    gap = temperature(x, books, metric)
    want = slopes(lambda: float((choice(x, books, metric, gap) * worth).sum()), x, EPSILON)
    moved = books.astype(np.float64)
    by_books = slopes(lambda: float((choice(x, moved, metric, gap) * worth).sum()), moved, EPSILON)
    wants = (want, by_books)
    gots = soft_gradient(x.astype(np.float32), books, worth.astype(np.float32), metric)
    for got, want in zip(gots, wants, strict=True):
        assert got.dtype == np.float32
        assert np.abs(want).max() > 0
        np.testing.assert_allclose(got, want, rtol=2e-3, atol=2e-4 * np.abs(want).max())


@pytest.mark.parametrize("metric", METRICS)
def test_blocks_and_what_is_asked_for_change_nothing(metric, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 50, (7, 3, 40)).astype(np.float32)
    books = rng.integers(0, 50, (7, 5, 3))
    worth = rng.standard_normal((7, 5, 40)).astype(np.float32)
    by_x, by_books = soft_gradient(x, books, worth, metric)
    monkeypatch.setattr("lutgen.train.soft.BLOCK", 2 * 5 * 40)  # blocks of 2, 2, 2 and 1
    for wanted in ((True, True), (True, False), (False, True)):
        again = soft_gradient(x, books, worth, metric, inputs=wanted[0], centroids=wanted[1])
        for asked, got, want in zip(wanted, again, (by_x, by_books), strict=True):
            if asked:
                np.testing.assert_array_equal(got, want)
            else:
                assert got is None


@pytest.mark.parametrize("metric", ["l1", "l2"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_a_layer_mixes_it_with_the_straight_gradient(kind, metric, seed):
    rng = np.random.default_rng(seed)
    rows, shape = geometry(rng, kind)
    layer = make(rng, rows, Format(5, True), metric=metric, c=5)
    layer.free()
    layer.residual += rng.standard_normal(layer.residual.shape).astype(np.float32)
    x = inputs(rng, layer.element, shape)
    kept = layer.forward(x, layer.integers())
    gradient = rng.standard_normal(kept.acc.shape).astype(np.float32)
    straight = layer.backward(kept, gradient, 0.0, True)[2]

    q, books = x.astype(np.float64), layer.codebooks()
    gap = temperature(layer.vectors(q), books, metric) + 1e-6
    tables = layer.integers().matrix * np.float64(layer.table_scale)

    def loss():
        soft = choice(layer.vectors(q), books, metric, gap)
        placed = rows.place(soft.reshape(layer.width, -1), q.shape)
        return float((rows.product(tables, placed, q.shape) * gradient).sum())

    # Of an input in real units, as all gradients are.
    want = slopes(loss, q, EPSILON) / layer.in_scale
    for share in (1.0, 0.25):
        layer.soft = share
        got = layer.backward(kept, gradient, 0.0, True)[2]
        mixed = share * want + (1 - share) * straight
        np.testing.assert_allclose(got, mixed, rtol=2e-3, atol=5e-4 * np.abs(mixed).max())


def test_one_centroid_leaves_nothing_to_choose():
    x = np.ones((2, 3, 4), np.float32)
    worth = np.ones((2, 1, 4), np.float32)
    for metric in METRICS:
        for gradient in soft_gradient(x, np.zeros((2, 1, 3), np.int64), worth, metric):
            assert not gradient.any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("free", [True, False])
def test_centroids_learn_by_the_choice(kind, free):
    rng = np.random.default_rng(KINDS.index(kind))
    rows, shape = geometry(rng, kind)
    layer = make(rng, rows, Format(5, True), metric="l1", c=5)
    if free:
        layer.free()
        layer.residual += rng.standard_normal(layer.residual.shape).astype(np.float32)
    x = inputs(rng, layer.element, shape)
    kept = layer.forward(x, layer.integers())
    gradient = rng.standard_normal(kept.acc.shape).astype(np.float32)
    through = layer.finish(layer.backward(kept, gradient, 0.0, False)[1])["books"]

    books = layer.codebooks().astype(np.float64)
    gap = temperature(layer.vectors(x.astype(np.float64)), books, "l1") + 1e-6
    tables = layer.integers().matrix * np.float64(layer.table_scale)

    def loss():
        soft = choice(layer.vectors(x.astype(np.float64)), books, "l1", gap)
        placed = rows.place(soft.reshape(layer.width, -1), x.shape)
        return float((rows.product(tables, placed, x.shape) * gradient).sum())

    # Central differences give none where an input stands on a centroid, as the sign does.
    want = slopes(loss, books, EPSILON)
    layer.soft = 0.5
    got = layer.finish(layer.backward(kept, gradient, 0.0, False)[1])
    assert "choice" not in got
    if layer.spare:  # padding stays 0
        want[-1, :, -layer.spare :] = 0
    whole = want if free else want + through
    np.testing.assert_allclose(got["books"], whole, rtol=2e-3, atol=5e-4 * np.abs(whole).max())
    layer.moving_books = False
    assert (
        not {"books", "choice"} & layer.finish(layer.backward(kept, gradient, 0.0, True)[1]).keys()
    )
