"""What a lookup would give for inputs or centroids that move: the gradient of a soft choice.

Straight through, a lookup passes on the slope of the weights, as if its centroid moved with the
input. In truth an input that moves comes to another centroid, and so does one whose centroids move;
the table decides what that is worth. With long sub-vectors and tables of their own the two differ.
"""

import numpy as np

from lutgen.numeric import Int64Array
from lutgen.train.optim import Float32Array

__all__ = ["soft_gradient"]

STEEP = 1e6  # what makes any difference of inputs exceed 1
NEVER = -30.0  # logarithm of a chance that is as good as none; tiny numbers are slow to work with


def soft_gradient(
    x: Float32Array, codebooks: Int64Array, worth: Float32Array, metric: str
) -> tuple[Float32Array, Float32Array]:
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
    """
    books = codebooks.astype(np.float32)
    far, spare = _distances(x, books, metric)
    first, second = _nearest_two(far)
    gap = (second - first).mean(axis=1) + np.float32(1e-6)
    choice = np.subtract(first[:, None], far, out=None if metric == "chebyshev" else far)
    choice /= gap[:, None, None]
    np.maximum(choice, np.float32(NEVER), out=choice)
    np.exp(choice, out=choice)
    choice /= choice.sum(axis=1, keepdims=True)
    np.multiply(choice, worth, out=spare)
    choice *= worth - spare.sum(axis=1, keepdims=True)
    choice /= -gap[:, None, None]
    if metric == "l2":  # of 2 (x - centroid) the first part drops out: the sum over them is 0
        by_x = np.matmul(books.transpose(0, 2, 1), choice)
        by_x *= np.float32(-2)
        by_books = books * choice.sum(axis=2, keepdims=True)
        by_books -= np.matmul(choice, x.transpose(0, 2, 1))
        by_books *= np.float32(2)
        return by_x, by_books
    by_x, by_books = np.empty_like(x), np.empty_like(books)
    open_ = np.ones(far.shape, dtype=bool) if metric == "chebyshev" else None
    for d in range(x.shape[1]):
        slope = np.subtract(x[:, None, d], books[:, :, d, None], out=spare)
        if open_ is not None:  # the first of the largest coordinates alone
            largest = np.abs(slope) == far
            largest &= open_
            open_ ^= largest
            slope *= largest
        slope *= np.float32(STEEP)
        np.clip(slope, -1, 1, out=slope)  # its sign, which branches would find slowly
        np.einsum("gcl,gcl->gl", slope, choice, out=by_x[:, d])
        np.einsum("gcl,gcl->gc", slope, choice, out=by_books[:, :, d])
    np.negative(by_books, out=by_books)
    return by_x, by_books


def _nearest_two(far: Float32Array) -> tuple[Float32Array, Float32Array]:
    """The two smallest of the distances ``[g, c, L]``, ``[g, L]`` each; of one centroid, it."""
    first = far[:, 0]
    second = np.full_like(first, np.inf) if far.shape[1] > 1 else first
    for j in range(1, far.shape[1]):
        second = np.minimum(second, np.maximum(first, far[:, j]))
        first = np.minimum(first, far[:, j])
    return first, second


def _distances(
    x: Float32Array, books: Float32Array, metric: str
) -> tuple[Float32Array, Float32Array]:
    """``[g, c, L]``, and an array as large that is free for other use."""
    total = np.empty((*books.shape[:2], x.shape[2]), dtype=np.float32)
    term = np.empty_like(total)
    for d in range(x.shape[1]):
        into = term if d else total
        np.subtract(x[:, None, d], books[:, :, d, None], out=into)
        if metric == "l2":
            into *= into
        else:
            np.abs(into, out=into)
        if d and metric == "chebyshev":
            np.maximum(total, term, out=total)
        elif d:
            total += term
    return total, term
