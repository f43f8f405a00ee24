"""Products with one-hot rows: as fetches of table rows forward, in blocks backward.

One-hot rows of all pixels of a batch are many times what a cache holds, and mostly zeros.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.train.optim import Float32Array

__all__ = ["Fetched", "by_table", "looked_up", "one_hot"]

FETCHED = 1 << 17  # values of sums that are worked on at once
HOT, LENGTH = 1 << 18, 512  # values of one-hot rows that are, and how long those are


def one_hot(index: NDArray[np.integer], centroids: int, dtype: type = np.float32) -> Float32Array:
    """Rows ``[g * c, L]``, 1 where the index ``[g, L]`` says, else 0."""
    groups, length = index.shape
    kind = np.uint8 if centroids <= 1 << 8 else np.int64
    numbers = np.arange(centroids, dtype=kind)[:, None]
    hot: Float32Array = np.empty((groups, centroids, length), dtype=dtype)
    hot[...] = index.astype(kind)[:, None, :] == numbers
    return hot.reshape(groups * centroids, length)


class Fetched:
    """A table ``[g, c, n]`` in the form that `looked_up` sums rows of.

    Integers in a float table are summed as 16-bit integers where those hold every sum. Whether they
    do takes several looks at the whole table, which many products share.

    Parameters
    ----------
    table : float array ``[g, c, n]``

    Attributes
    ----------
    rows : array ``[g, c, n]``
        Of 16-bit integers less ``low``; or the table.
    low : float array ``[n]`` or None
        What the lowest entries sum up to; None where rows are the table.
    """

    def __init__(self, table: NDArray[Any]):
        low, high = table.min(axis=1), table.max(axis=1)
        short = float((high - low).sum(axis=0).max(initial=0)) < 1 << 16
        # Measured from each codebook's lowest entry all terms are positive, and sums stay in range.
        self.rows = table
        self.low: NDArray[Any] | None = None
        self.dtype = table.dtype
        if short and (np.floor(table) == table).all():
            self.rows = (table - low[:, None]).astype(np.uint16)
            self.low = low.sum(axis=0)


def looked_up(table: Fetched, index: NDArray[np.integer]) -> NDArray[Any]:
    """``sum_g table[g, index[g, l]]`` as ``[n, L]``.

    Rows are fetched rather than multiplied with one-hot rows: c times less to move.
    """
    rows = table.rows
    (groups, _, outputs), length = rows.shape, index.shape[1]
    result = np.empty((outputs, length), dtype=table.dtype)
    step = max(64, FETCHED // outputs)
    for start in range(0, length, step):
        part = np.ascontiguousarray(index[:, start : start + step], dtype=np.intp)
        total = np.zeros((part.shape[1], outputs), dtype=rows.dtype)
        fetched = np.empty_like(total)
        for group in range(groups):
            # Indices are in range; "clip" spares a copy that "raise" needs.
            rows[group].take(part[group], axis=0, out=fetched, mode="clip")
            total += fetched
        result[:, start : start + step] = total.T
    if table.low is not None:
        result += table.low[:, None]
    return result


def by_table(index: NDArray[np.integer], gradient: Float32Array, centroids: int) -> Float32Array:
    """The gradient ``[g * c, n]`` by a table whose entries ``index`` ``[g, L]`` fetched, of the one
    ``[n, L]`` by their sums.

    One-hot rows are formed in blocks that stay in cache.
    """
    (groups, length), outputs = index.shape, len(gradient)
    total = np.zeros((groups * centroids, outputs), dtype=np.float32)
    step = min(length, LENGTH)
    some = max(1, HOT // (centroids * max(1, step)))
    for first in range(0, groups, some):
        part = index[first : first + some]
        into = total[first * centroids : (first + len(part)) * centroids]
        for start in range(0, length, step):
            hot = one_hot(part[:, start : start + step], centroids)
            into += hot @ gradient[:, start : start + step].T
    return total
