"""K-means on sub-vectors, for all codebooks of a layer at once.

Samples stand as ``[g, v, n]`` so that every operation runs along contiguous samples. Centroids are
compared one at a time against the best so far: no array is larger than the samples themselves.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.numeric import as_int
from lutgen.spec import METRICS
from lutgen.train.optim import Float32Array

__all__ = ["INITS", "assign", "kmeans"]

INITS = ("k-means++", "random")

BLOCK = 1 << 17  # samples times codebooks worked on at once: half a MiB, so that they stay in cache


def distance(metric: str, x: Float32Array, centre: Float32Array) -> Float32Array:
    """Distances ``[g, n]`` of samples ``[g, v, n]`` to one centroid per codebook, ``[g, v]``; or
    ``[..., n]``, of any shapes ``[..., v, n]`` and ``[..., v]`` that go with each other.
    """
    ahead = np.broadcast_shapes(x.shape[:-2], centre.shape[:-1])
    total = np.zeros((*ahead, x.shape[-1]), dtype=np.float32)
    term = np.empty_like(total)
    for d in range(x.shape[-2]):
        np.subtract(x[..., d, :], centre[..., d, None], out=term)
        if metric == "l2":
            term *= term
        else:
            np.abs(term, out=term)
        if metric == "chebyshev":
            np.maximum(total, term, out=total)
        else:
            total += term
    return total


def assign(
    metric: str, x: Float32Array, centroids: Float32Array
) -> tuple[NDArray[np.int64], Float32Array]:
    """The nearest centroid of every sample, ties to the lowest, and its distance.

    Parameters
    ----------
    metric : str
        ``l1``, ``l2`` or ``chebyshev``.
    x : float32 array ``[g, v, n]``
    centroids : float32 array ``[g, c, v]``

    Returns
    -------
    int64 array ``[g, n]``, float32 array ``[g, n]``
    """
    best = distance(metric, x, centroids[:, 0])
    index = np.zeros(best.shape, dtype=np.int64)
    for j in range(1, centroids.shape[1]):
        found = distance(metric, x, centroids[:, j])
        index[found < best] = j
        np.minimum(best, found, out=best)
    return index, best


def kmeans(
    x: ArrayLike,
    centroids: int,
    metric: str,
    rng: np.random.Generator,
    *,
    iterations: int = 20,
    init: str = "k-means++",
    restarts: int = 1,
) -> Float32Array:
    """Codebooks that serve the samples well: Lloyd's iteration, the update to suit the metric.

    ``l1`` moves a centroid to the median of its samples, ``l2`` to their mean, ``chebyshev`` to
    their midrange or mean, whichever is nearer to them. A centroid that serves no sample moves to
    the worst-served one. The sum of distances never rises from one iteration to the next.

    Parameters
    ----------
    x : real array ``[n, g, v]``
        Sub-vectors.
    centroids : int
        Centroids c of a codebook, at least 2; may exceed n.
    metric : str
        ``l1``, ``l2`` or ``chebyshev``.
    rng : numpy.random.Generator
        Choice of the first centroids.
    iterations : int
        At most so many updates.
    init : str
        ``k-means++`` or ``random``: samples, drawn by their distance or evenly.
    restarts : int
        Runs from different first centroids; of every codebook the best is kept.

    Returns
    -------
    float32 array ``[g, c, v]``
    """
    as_int(centroids, "Centroids", low=2)
    as_int(restarts, "Restarts", low=1)
    if metric not in METRICS:
        raise ValueError(f"Metric must be one of {', '.join(METRICS)}, not {metric!r}")
    if init not in INITS:
        raise ValueError(f"Initialisation must be one of {', '.join(INITS)}, not {init!r}")
    data = np.asarray(x)
    if data.ndim != 3 or not data.size:
        raise ValueError(
            f"Samples must have the shape [n, g, v] and not be empty, not {data.shape}"
        )
    books = np.empty((data.shape[1], centroids, data.shape[2]), dtype=np.float32)
    step = max(1, BLOCK // len(data))
    for start in range(0, data.shape[1], step):
        part = np.ascontiguousarray(
            data[:, start : start + step].transpose(1, 2, 0), dtype=np.float32
        )
        into = books[start : start + step]
        cost = np.full(len(into), np.inf)
        for _ in range(restarts):
            first = _first(part, centroids, metric, rng, init)
            found, now = _lloyd(part, first, metric, iterations)
            better = now < cost
            into[better] = found[better]
            cost = np.minimum(cost, now)
    return books


def _first(
    x: Float32Array, centroids: int, metric: str, rng: np.random.Generator, init: str
) -> Float32Array:
    """The first centroids ``[g, c, v]``: samples, drawn with a chance that grows with distance."""
    g, v, n = x.shape
    books = np.empty((g, centroids, v), dtype=np.float32)
    rows = np.arange(g)
    if init == "random":
        for j in range(centroids):
            books[:, j] = x[rows, :, rng.integers(n, size=g)]
        return books
    books[:, 0] = x[rows, :, rng.integers(n, size=g)]
    best = distance(metric, x, books[:, 0])
    for j in range(1, centroids):
        ladder = np.cumsum(best, axis=1, dtype=np.float64)
        # Where every sample is served exactly, the ladder is flat and any sample will do.
        mark = rng.random(g) * ladder[:, -1]
        chosen = np.minimum((ladder <= mark[:, None]).sum(axis=1), n - 1)
        books[:, j] = x[rows, :, chosen]
        np.minimum(best, distance(metric, x, books[:, j]), out=best)
    return books


def _lloyd(
    x: Float32Array, books: Float32Array, metric: str, iterations: int
) -> tuple[Float32Array, NDArray[np.float64]]:
    """Codebooks after at most so many updates, and their sums of distances ``[g]``."""
    index, best = assign(metric, x, books)
    cost = best.sum(axis=1, dtype=np.float64)
    for _ in range(iterations):
        moved = _update(metric, x, index, books)
        _reseed(metric, x, index, moved)
        index, best = assign(metric, x, moved)
        now = best.sum(axis=1, dtype=np.float64)
        better = now < cost  # rounding in float32 must not make a codebook worse
        if not better.any():
            break
        books = np.where(better[:, None, None], moved, books)
        if not better.all():
            index, _ = assign(metric, x, books)
        cost = np.minimum(cost, now)
    return books, cost


def _update(
    metric: str, x: Float32Array, index: NDArray[np.int64], books: Float32Array
) -> Float32Array:
    """Every centroid moved to the centre of its samples; those without samples stay."""
    g, c, v = books.shape
    flat = (index + c * np.arange(g)[:, None]).ravel()
    count = np.bincount(flat, minlength=g * c).reshape(g, c)
    if metric == "l1":
        low, high = _order_statistics(x, index, count, (count - 1) // 2, count // 2)
        return np.where(count[..., None] > 0, (low + high) / 2, books).astype(np.float32)
    total = np.stack(
        [np.bincount(flat, x[:, d].ravel(), minlength=g * c).reshape(g, c) for d in range(v)],
        axis=-1,
    )
    mean = np.where(count[..., None] > 0, total / np.maximum(count, 1)[..., None], books)
    mean = mean.astype(np.float32)
    if metric == "l2":
        return mean
    low, high = _order_statistics(x, index, count, np.zeros_like(count), np.maximum(count - 1, 0))
    midrange = np.where(count[..., None] > 0, (low + high) / 2, books).astype(np.float32)
    choices = (books, mean, midrange)
    costs = np.stack([_served(metric, x, index, choice, flat) for choice in choices])
    picked = costs.argmin(axis=0)[..., None]
    return np.where(picked == 0, books, np.where(picked == 1, mean, midrange))


def _served(
    metric: str,
    x: Float32Array,
    index: NDArray[np.int64],
    books: Float32Array,
    flat: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Sum of the distances ``[g, c]`` from every centroid to the samples it serves."""
    g, c, _ = books.shape
    total = np.zeros(index.shape, dtype=np.float32)
    for d in range(x.shape[1]):
        term = np.abs(x[:, d] - np.take_along_axis(books[:, :, d], index, axis=1))
        total = np.maximum(total, term)  # only chebyshev asks
    sums = np.bincount(flat, total.ravel(), minlength=g * c).astype(np.float64)
    return sums.reshape(g, c)


def _order_statistics(
    x: Float32Array,
    index: NDArray[np.int64],
    count: NDArray[np.int64],
    first: NDArray[np.int64],
    second: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Values of rank ``first`` and ``second`` ``[g, c]`` in every dimension; ``[g, c, v]`` each.

    One sort does all centroids: the centroid's number is added above the value.
    """
    start = np.cumsum(count, axis=1) - count
    last = x.shape[2] - 1
    results = []
    low = float(x.min())
    span = float(x.max()) - low + 1.0
    offset = index * span - low
    numbers = np.arange(count.shape[1]) * span - low
    ordered = [np.sort(x[:, d] + offset, axis=1) for d in range(x.shape[1])]
    for rank in (first, second):
        place = np.minimum(start + rank, last)
        results.append(
            np.stack([np.take_along_axis(o, place, axis=1) - numbers for o in ordered], axis=-1)
        )
    return results[0], results[1]


def _reseed(metric: str, x: Float32Array, index: NDArray[np.int64], books: Float32Array) -> None:
    """Moves centroids without samples to the worst-served sample, one after another; in place."""
    g, c, _ = books.shape
    flat = (index + c * np.arange(g)[:, None]).ravel()
    empty = np.bincount(flat, minlength=g * c).reshape(g, c) == 0
    needy = np.flatnonzero(empty.any(axis=1))
    if not needy.size:
        return
    _, best = assign(metric, x[needy], books[needy])
    while needy.size:
        worst = best.argmax(axis=1)
        more = best[np.arange(needy.size), worst] > 0  # else all samples are served exactly
        needy, best, worst = needy[more], best[more], worst[more]
        if not needy.size:
            return
        j = empty[needy].argmax(axis=1)
        books[needy, j] = x[needy, :, worst]
        empty[needy, j] = False
        best = np.minimum(best, distance(metric, x[needy], books[needy, j]))
        left = empty[needy].any(axis=1)
        needy, best = needy[left], best[left]
