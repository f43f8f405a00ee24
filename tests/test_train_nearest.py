"""Nearest centroids of many sub-vectors: the very indices of the spec, in little memory."""

import tracemalloc

import numpy as np
import pytest

from lutgen.numeric import Format
from lutgen.spec import METRICS, EncoderSpec
from lutgen.train.nearest import EXACT, nearest


def expected(x, books, metric, element):
    spec = EncoderSpec(element, x.shape[1], books.shape[1], metric, 1, 1)
    return spec.compute(x.transpose(2, 0, 1).astype(np.int64), books).T


def integers(rng, element, *shape):
    """Of the whole format, its ends, or close together so that many distances tie."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(element.low, element.high + 1, shape)
    if kind == 1:
        return rng.choice([element.low, element.high], shape)
    return rng.integers(max(element.low, -1), min(element.high, 2) + 1, shape)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("bits", range(2, 17))
def test_indices_are_those_of_the_spec(metric, signed, bits):
    rng = np.random.default_rng((bits, signed))
    element = Format(bits, signed)
    for subvec, centroids in [(1, 2), (2, 16), (3, 5), (4, 16), (9, 7), (16, 33)]:
        groups = int(rng.integers(1, 4))
        x = integers(rng, element, groups, subvec, int(rng.integers(1, 60)))
        books = integers(rng, element, groups, centroids, subvec)
        found = nearest(x.astype(np.float32), books, metric, element)
        assert found.dtype == np.intp
        np.testing.assert_array_equal(found, expected(x, books, metric, element))


@pytest.mark.parametrize("metric", METRICS)
def test_ties_go_to_the_lowest(metric):
    x = np.full((2, 3, 5), 7, dtype=np.float32)
    books = np.array([[9, 9, 9], [5, 5, 5], [6, 6, 6], [8, 8, 8], [6, 6, 6]])
    books = np.stack([books, np.full((5, 3), 3)])
    found = nearest(x, books, metric, Format(8, False))
    assert (found[0] == 2).all()
    assert (found[1] == 0).all()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("centroids", [2, 3, 16, 17])
def test_the_greatest_distances_on_both_sides_of_what_float32_holds(signed, centroids):
    """Squares near the bound of the product, and the first ones beyond it."""
    bits = (centroids - 1).bit_length()
    reach = 128
    subvec = ((EXACT >> bits) - 2) // (3 * reach * reach)
    rng = np.random.default_rng(centroids)
    element = Format(8, signed)
    for v in (subvec, subvec + 1):
        ends = [element.low, element.high]
        x = rng.choice(ends, (1, v, 300))
        x[:, :, :2] = ends
        books = rng.choice(ends, (1, centroids, v))
        books[0, 1:] = books[0, :1]  # the farthest is as far as can be, and ties
        books[0, :, :3] = rng.choice(ends, (centroids, 3))
        found = nearest(x.astype(np.float32), books, "l2", element)
        np.testing.assert_array_equal(found, expected(x, books, "l2", element))


@pytest.mark.parametrize("metric", METRICS)
def test_many_samples_go_in_blocks(metric):
    rng = np.random.default_rng(1)
    element = Format(8, False)
    x = rng.integers(0, 256, (3, 2, 70_001))
    books = rng.integers(0, 256, (3, 4, 2))
    found = nearest(x.astype(np.float32), books, metric, element)
    np.testing.assert_array_equal(found, expected(x, books, metric, element))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bits", [8, 16])
def test_memory_stays_small(metric, bits):
    rng = np.random.default_rng(2)
    element = Format(bits, False)
    groups, subvec, centroids, length = 4, 4, 64, 120_000
    x = rng.integers(0, element.high + 1, (groups, subvec, length)).astype(np.float32)
    books = rng.integers(0, element.high + 1, (groups, centroids, subvec))
    tracemalloc.start()
    found = nearest(x, books, metric, element)
    peak = tracemalloc.get_traced_memory()[1] - found.nbytes
    tracemalloc.stop()
    distances = groups * centroids * length * 4  # 123 MB; with the dimensions, 492 MB
    assert peak < distances / 12
