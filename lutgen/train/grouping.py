"""Which hidden units share a sub-vector: those that vary together.

The order of hidden units is free: moving them moves columns of one layer and rows of the next.
Sixteen centroids serve four units that move together far better than four that do not.
"""

import numpy as np
from numpy.typing import NDArray

from lutgen.train.mlp import MLP
from lutgen.train.optim import Float32Array

__all__ = ["group", "order"]


def order(activations: Float32Array, subvec: int) -> NDArray[np.int64]:
    """An order of units in which every ``subvec`` neighbours are correlated.

    Greedy: the most correlated pair starts a sub-vector, and the unit most correlated with those in
    it joins until it is full.

    Parameters
    ----------
    activations : float32 array ``[sample, unit]``
    subvec : int
        Sub-vector length.

    Returns
    -------
    int64 array ``[unit]``
    """
    centred = activations - activations.mean(axis=0)
    # Units that never fire correlate with none.
    length = np.sqrt((centred * centred).sum(axis=0)) + np.float32(1e-9)
    likeness = (centred / length).T @ (centred / length)
    np.fill_diagonal(likeness, -np.inf)
    units = len(likeness)
    free = np.ones(units, dtype=bool)
    chosen: list[int] = []
    while len(chosen) < units:
        open_pairs = np.where(free[:, None] & free, likeness, -np.inf)
        member = int(open_pairs.argmax() // units) if free.sum() > 1 else int(free.argmax())
        pull = np.zeros(units)
        for _ in range(min(subvec, units - len(chosen))):
            chosen.append(member)
            free[member] = False
            pull += np.where(free, likeness[member], 0)
            member = int(np.where(free, pull, -np.inf).argmax())
    return np.array(chosen, dtype=np.int64)


def group(net: MLP, x: Float32Array, subvec: int) -> None:
    """Reorders the hidden units of ``net`` in place; what it computes stays, up to rounding.

    Parameters
    ----------
    x : float32 array ``[sample, K]``
        Inputs to measure correlations on.
    """
    for i, activations in enumerate(net.activations(x)[1:-1]):
        places = order(activations, subvec)
        net.weights[i][:] = net.weights[i][:, places]
        net.biases[i][:] = net.biases[i][places]
        net.weights[i + 1][:] = net.weights[i + 1][places]
