"""Nearest centroids of many sub-vectors: the indices of `lutgen.spec.EncoderSpec`, at the speed
that training needs.

Distance and number of a centroid are packed into one word, ``distance * 2^b + j``: a running
minimum of the words then finds the nearest centroid, ties to the lowest, without a comparison or an
index array. No array holds more than ``g * c`` values a sub-vector, and only in blocks.
"""

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import Format, Int64Array, clog2
from lutgen.spec.encoder import narrowest
from lutgen.train.optim import Float32Array

__all__ = ["nearest"]

BLOCK = 1 << 16  # distances worked on at once, so that they stay in cache
EXACT = 1 << 24  # float32 holds every smaller integer


def nearest(
    x: Float32Array, codebooks: Int64Array, metric: str, element: Format
) -> NDArray[np.intp]:
    """Indices ``[g, L]``.

    Parameters
    ----------
    x : float32 array ``[g, v, L]``
        Integers of ``element``.
    codebooks : int array ``[g, c, v]``
    metric : str
        ``l1``, ``l2`` or ``chebyshev``.
    """
    groups, subvec, length = x.shape
    centroids = codebooks.shape[1]
    bits = clog2(centroids)
    span = element.high - element.low
    index = np.empty((groups, length), dtype=np.intp)
    middle = (element.high + element.low + 1) // 2
    # Distances do not change when all values move; around 0 the products are smallest.
    reach = max(element.high - middle, middle - element.low)
    if metric == "l2" and 3 * subvec * reach * reach + 1 < EXACT >> bits:
        step = max(256, 8 * BLOCK // (groups * centroids))
        centred = (codebooks - middle).astype(np.float32)
        matrix = np.empty((groups, centroids, subvec + 1), dtype=np.float32)
        matrix[:, :, :subvec] = centred * np.float32(-2 << bits)
        matrix[:, :, subvec] = (centred * centred).sum(axis=2) * np.float32(1 << bits)
        matrix[:, :, subvec] += np.arange(centroids, dtype=np.float32)
        for start in range(0, length, step):
            part = x[:, :, start : start + step]
            rows = np.ones((groups, subvec + 1, part.shape[2]), dtype=np.float32)
            np.subtract(part, np.float32(middle), out=rows[:, :subvec])
            best = np.minimum.reduce(matrix @ rows, axis=1)
            np.bitwise_and(
                best.astype(np.int32), (1 << bits) - 1, out=index[:, start : start + step]
            )
        return index
    largest = {"l1": subvec * span, "l2": subvec * span * span, "chebyshev": span}[metric] + 1
    kind = narrowest(0, largest << bits)
    scale = 1 << bits
    if metric == "l2":
        scale = 1  # applied after the square
    books = (codebooks * scale).astype(kind)
    step = max(256, BLOCK // groups)
    for start in range(0, length, step):
        part = x[:, :, start : start + step].astype(kind)
        if scale > 1:
            part *= kind(scale)
        total = np.empty((groups, part.shape[2]), dtype=kind)
        term = np.empty_like(total)
        best = np.empty_like(total)
        for j in range(centroids):
            into = best if j == 0 else total
            for d in range(subvec):
                out = into if d == 0 else term
                np.subtract(part[:, d], books[:, j, d, None], out=out)
                if metric == "l2":
                    np.multiply(out, out, out=out)
                else:
                    np.absolute(out, out=out)
                if d and metric == "chebyshev":
                    np.maximum(into, term, out=into)
                elif d:
                    into += term
            if metric == "l2":
                into <<= kind(bits)
            if j:
                total += kind(j)
                np.minimum(best, total, out=best)
        np.bitwise_and(best, kind((1 << bits) - 1), out=index[:, start : start + step])
    return index
