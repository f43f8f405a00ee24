"""What a lookup would give for inputs that move: the gradient of a soft choice of centroids.

Straight through, a lookup passes on the slope of the weights, as if its centroid moved with the
input. In truth an input that moves comes to another centroid, and the table decides what that is
worth: with long sub-vectors and tables of their own the two differ.
"""

import numpy as np

from lutgen.numeric import Int64Array
from lutgen.train.optim import Float32Array

__all__ = ["soft_gradient"]


def soft_gradient(
    x: Float32Array, codebooks: Int64Array, worth: Float32Array, metric: str
) -> Float32Array:
    """Gradient ``[g, v, L]`` by the inputs, through a softmax over the distances to the centroids.

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
    centroids, subvec = books.shape[1:]
    far = np.stack([_distance(x, books[:, j, :, None], metric) for j in range(centroids)], axis=1)
    nearest_two = np.partition(far, min(1, centroids - 1), axis=1)[:, :2]
    gap = (nearest_two[:, -1] - nearest_two[:, 0]).mean(axis=1) + np.float32(1e-6)
    choice = np.exp((nearest_two[:, :1] - far) / gap[:, None, None])
    choice /= choice.sum(axis=1, keepdims=True)
    choice *= worth - (choice * worth).sum(axis=1, keepdims=True)
    choice /= -gap[:, None, None]
    if metric == "l2":  # of 2 (x - centroid) the first part drops out: the sum over them is 0
        by_l2: Float32Array = np.matmul(books.transpose(0, 2, 1), choice)
        by_l2 *= np.float32(-2)
        return by_l2
    result = np.zeros_like(x)
    for j in range(centroids):
        difference = x - books[:, j, :, None]
        slope = np.sign(difference)
        if metric == "chebyshev":
            largest = np.abs(difference).argmax(axis=1)[:, None]
            slope *= np.arange(subvec)[:, None] == largest
        slope *= choice[:, j, None]
        result += slope
    return result


def _distance(x: Float32Array, centroid: Float32Array, metric: str) -> Float32Array:
    """Of sub-vectors to one centroid of each codebook, ``[g, L]``."""
    total: Float32Array | None = None
    for d in range(x.shape[1]):
        term = np.abs(x[:, d] - centroid[:, d])
        if metric == "l2":
            term *= term
        if total is None:
            total = term
        elif metric == "chebyshev":
            np.maximum(total, term, out=total)
        else:
            total += term
    assert total is not None
    return total
