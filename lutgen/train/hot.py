"""Products with one-hot rows: as fetches of table rows forward, in blocks backward.

One-hot rows of all pixels of a batch are many times what a cache holds, and mostly zeros.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.train.optim import Float32Array

__all__ = ["by_table", "looked_up", "one_hot"]

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


def looked_up(table: NDArray[Any], index: NDArray[np.integer]) -> NDArray[Any]:
    """``sum_g table[g, index[g, l]]`` as ``[n, L]``, of a table ``[g, c, n]``.

    Rows are fetched rather than multiplied with one-hot rows: c times less to move. Integers in a
    float32 table are summed as 16-bit integers where those hold every sum.
    """
    (groups, _, outputs), length = table.shape, index.shape[1]
    low = table.min(axis=1)
    reach = float((table.max(axis=1) - low).sum(axis=0).max(initial=0))
    short = bool(reach < 1 << 16 and (np.floor(table) == table).all())
    # Measured from each codebook's lowest entry all terms are positive, and sums stay in range.
    rows = (table - low[:, None]).astype(np.uint16) if short else table
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
    if short:
        result += low.sum(axis=0)[:, None]
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
