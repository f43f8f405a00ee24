"""K-means: never worse than the start, every update right, no centroid idle."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutgen.train import kmeans as module
from lutgen.train.kmeans import assign, kmeans

METRICS = ("l1", "l2", "chebyshev")


def cost(metric, x, books):
    """Sum of distances per codebook, in float64 and the plain way; x ``[n, g, v]``."""
    difference = x[:, :, None, :].astype(np.float64) - books[None].astype(np.float64)
    if metric == "l2":
        distances = (difference**2).sum(-1)
    elif metric == "l1":
        distances = np.abs(difference).sum(-1)
    else:
        distances = np.abs(difference).max(-1)
    return distances.min(axis=2).sum(axis=0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    metric=st.sampled_from(METRICS),
    init=st.sampled_from(module.INITS),
    n=st.integers(1, 80),
    g=st.integers(1, 4),
    v=st.integers(1, 4),
    c=st.integers(2, 9),
)
def test_never_worse_than_the_start(seed, metric, init, n, g, v, c):
    x = np.random.default_rng(seed).integers(0, 16, (n, g, v))
    costs = [
        cost(
            metric,
            x,
            kmeans(x, c, metric, np.random.default_rng(seed), iterations=i, init=init),
        )
        for i in (0, 1, 2, 20)
    ]
    for before, after in pairwise(costs):
        assert (after <= before + 1e-3).all(), (costs, seed)


@pytest.mark.parametrize("metric", METRICS)
def test_assign_is_the_nearest_with_ties_to_the_lowest(metric, rng):
    x = rng.integers(0, 6, (50, 3, 2))
    books = rng.integers(0, 6, (3, 5, 2)).astype(np.float32)
    index, best = assign(metric, x.transpose(1, 2, 0).astype(np.float32), books)
    difference = (x[:, :, None, :] - books[None]).astype(np.float64)
    whole = {
        "l1": np.abs(difference).sum(-1),
        "l2": (difference**2).sum(-1),
        "chebyshev": np.abs(difference).max(-1),
    }[metric]
    assert np.array_equal(index.T, whole.argmin(axis=2))
    assert np.array_equal(best.T, whole.min(axis=2))


def updated(metric, samples):
    """Where one update puts the centroid of a cluster; the other one is far away."""
    x = np.concatenate([samples, [[1000.0, 1000.0]]]).astype(np.float32)
    index = np.zeros((1, len(x)), dtype=np.int64)
    index[0, -1] = 1
    books = np.full((1, 2, 2), 500.0, dtype=np.float32)
    return module._update(metric, x.T[None], index, books)[0, 0]


def test_l1_moves_to_the_median():
    samples = np.array([[0, 1], [2, 1], [30, 5]])
    assert updated("l1", samples).tolist() == [2, 1]
    assert updated("l1", samples[:2]).tolist() == [1, 1]


def test_l2_moves_to_the_mean():
    assert updated("l2", np.array([[0, 1], [2, 1], [31, 4]])).tolist() == [11, 2]


def test_chebyshev_moves_to_mean_or_midrange_whichever_is_nearer():
    crowd = np.array([[0.0, 0.0]] * 9 + [[10.0, 0.0]])
    assert updated("chebyshev", crowd).tolist() == [1, 0]  # the mean; the midrange is 5
    wide = np.array([[4.0, 0.0], [0.0, 2.0], [8.0, 2.0]])
    assert updated("chebyshev", wide).tolist() == [4, 1]  # the midrange; the mean is 4, 4/3


@pytest.mark.parametrize("metric", METRICS)
def test_an_idle_centroid_moves_to_the_worst_served_sample(metric):
    x = np.array([0.0, 1.0, 2.0, 90.0], dtype=np.float32)[None, None]
    books = np.array([[[1.0], [1000.0], [2000.0]]], dtype=np.float32)
    index, _ = assign(metric, x, books)
    module._reseed(metric, x, index, books)
    assert books[0, :, 0].tolist() == [1, 90, 0]  # first the worst, then the worst of what is left


def test_as_many_centroids_as_different_samples_serve_all_exactly(rng):
    x = rng.permutation(np.repeat(np.arange(8), 40)).reshape(-1, 1, 1) * 10
    for metric in METRICS:
        assert cost(metric, x, kmeans(x, 8, metric, rng, init="random")) == 0


def test_identical_samples_leave_duplicates():
    books = kmeans(np.full((5, 2, 3), 7), 4, "l1", np.random.default_rng(0))
    assert (books == 7).all()


def test_the_generator_fixes_the_result(rng):
    x = rng.integers(0, 255, (200, 5, 4))
    first, second = (kmeans(x, 8, "l1", np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"centroids": 1}, "Centroids must be an integer of at least 2, not 1"),
        ({"metric": "digit"}, "Metric must be one of l1, l2, chebyshev, not 'digit'"),
        ({"init": "x"}, "Initialisation must be one of k-means++, random, not 'x'"),
        (
            {"x": np.zeros((3, 4))},
            "Samples must have the shape [n, g, v] and not be empty, not (3, 4)",
        ),
    ],
)
def test_refuses(arguments, text):
    good = {"x": np.zeros((3, 1, 4)), "centroids": 2, "metric": "l1"}
    with pytest.raises(ValueError) as caught:  # noqa: PT011  (the whole text is compared)
        kmeans(**{**good, **arguments}, rng=np.random.default_rng(0))
    assert str(caught.value) == text


@pytest.fixture
def rng():
    return np.random.default_rng(11)
