"""What a lookup would give for inputs or centroids that move: the gradient of a soft choice.

Straight through, a lookup passes on the slope of the weights, as if its centroid moved with the
input. In truth an input that moves comes to another centroid, and so does one whose centroids move;
the table decides what that is worth. With long sub-vectors and tables of their own the two differ.
"""

import numpy as np

from lutgen.numeric import Int64Array
from lutgen.train.kmeans import distance
from lutgen.train.optim import Float32Array

__all__ = ["soft_gradient"]

STEEP = 1e6  # what makes any difference of inputs exceed 1
NEVER = -30.0  # logarithm of a chance that is as good as none; tiny numbers are slow to work with
BLOCK = 1 << 16  # distances worked on at once, so that they stay in cache


def soft_gradient(
    x: Float32Array,
    codebooks: Int64Array,
    worth: Float32Array,
    metric: str,
    *,
    inputs: bool = True,
    centroids: bool = True,
) -> tuple[Float32Array | None, Float32Array | None]:
    """Gradients ``[g, v, L]`` by the inputs and ``[g, c, v]`` by the centroids, through a softmax
    over the distances between them.

    As LUT-NN trains centroids (arXiv 2302.03213); its temperature, which it learns, is here how
    much farther than the nearest centroid the second is, on average over a codebook's inputs.

    Parameters
    ----------
    x : float32 array ``[g, v, L]``
        Sub-vectors, integers.
    codebooks : int array ``[g, c, v]``
    worth : float32 array ``[g, c, L]``
        Gradient of the loss by how much each centroid is chosen.
    metric : str
        ``l1``, ``l2`` or ``chebyshev``.
    inputs, centroids : bool
        Whether the gradient by them is asked for; else it is None.
    """
    books = codebooks.astype(np.float32)
    by_x = np.empty_like(x) if inputs else None
    by_books = np.empty_like(books) if centroids else None
    step = max(1, BLOCK // (books.shape[1] * x.shape[2]))
    for start in range(0, len(x), step):
        some = slice(start, start + step)
        _block(
            x[some],
            books[some],
            worth[some],
            metric,
            None if by_x is None else by_x[some],
            None if by_books is None else by_books[some],
        )
    return by_x, by_books


def _block(
    x: Float32Array,
    books: Float32Array,
    worth: Float32Array,
    metric: str,
    by_x: Float32Array | None,
    by_books: Float32Array | None,
) -> None:
    """`soft_gradient` of some codebooks, into the last two where they are given."""
    far = distance(metric, x[:, None], books)
    first, second = _nearest_two(far)
    gap = (second - first).mean(axis=1) + np.float32(1e-6)
    choice = first[:, None] - far
    choice /= gap[:, None, None]
    np.maximum(choice, np.float32(NEVER), out=choice)
    np.exp(choice, out=choice)
    choice /= choice.sum(axis=1, keepdims=True)
    choice *= worth - (choice * worth).sum(axis=1, keepdims=True)
    choice /= -gap[:, None, None]
    if metric == "l2":
        if by_x is not None:  # of 2 (x - centroid) the first part drops out: the sum over them is 0
            np.matmul(books.transpose(0, 2, 1), choice, out=by_x)
            by_x *= np.float32(-2)
        if by_books is not None:
            np.matmul(choice, x.transpose(0, 2, 1), out=by_books)
            by_books -= books * choice.sum(axis=2, keepdims=True)
            by_books *= np.float32(-2)
        return
    open_ = np.ones(far.shape, dtype=bool)
    for d in range(x.shape[1]):
        slope = x[:, None, d] - books[:, :, d, None]
        if metric == "chebyshev":  # the first of the largest coordinates alone
            largest = np.abs(slope) == far
            largest &= open_
            open_ ^= largest
            slope *= largest
        slope *= np.float32(STEEP)
        np.clip(slope, -1, 1, out=slope)  # its sign, which branches would find slowly
        if by_x is not None:
            np.einsum("gcl,gcl->gl", slope, choice, out=by_x[:, d])
        if by_books is not None:
            by_books[:, :, d] = -np.einsum("gcl,gcl->gc", slope, choice)


def _nearest_two(far: Float32Array) -> tuple[Float32Array, Float32Array]:
    """The two smallest of the distances ``[g, c, L]``, ``[g, L]`` each; of one centroid, it."""
    first = far[:, 0]
    second = np.full_like(first, np.inf) if far.shape[1] > 1 else first
    for j in range(1, far.shape[1]):
        second = np.minimum(second, np.maximum(first, far[:, j]))
        first = np.minimum(first, far[:, j])
    return first, second
