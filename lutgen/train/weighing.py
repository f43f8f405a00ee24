"""Hidden channels in a scale that makes distances count what they are worth.

A nearest centroid errs in all channels of a sub-vector alike; what follows does not mind all of
them alike. As a ReLU passes on any positive factor, a channel may be taken larger, and the weights
that read it smaller by as much: the network stays the same. Cross-layer equalisation (Nagel et al.,
arXiv 1906.04721) uses this freedom to even out what is rounded; here it makes the distance to a
centroid about the error of the results.
"""

from collections.abc import Mapping

import numpy as np

from lutgen.train.floatnet import BatchNorm, Clip, FloatNet, Weighted
from lutgen.train.ties import Ties

__all__ = ["weigh"]

MOST = 8.0  # a channel is scaled by, over or under the median: smaller ones would lose their bits


def weigh(net: FloatNet, subvecs: Mapping[str, int]) -> None:
    """Scales the hidden channels of ``net`` in place; what it computes stays, up to rounding.

    A channel's factor is the root of the squared weights that read it, summed in the scale that
    their results have been given; from the last layer to the first.

    Parameters
    ----------
    subvecs : mapping of layer name to int
        Sub-vector length of the layers that look up; 1 where no distance is formed.
    """
    ties = Ties(net)
    fixed = set(ties.fixed)
    for layer in net.layers:
        # A factor would move a bound, and a batch norm would take it out again.
        bounded = isinstance(layer, Clip) and not {layer.low, layer.high} <= {0, -np.inf, np.inf}
        if bounded or isinstance(layer, BatchNorm):
            fixed.add(ties.root(layer.name))
    weighted = [layer for layer in net.layers if isinstance(layer, Weighted)]
    for last in reversed(weighted):
        mine = ties.root(last.inputs[0])
        if mine in fixed:
            continue
        fixed.add(mine)
        readers = [layer for layer in weighted if ties.root(layer.inputs[0]) == mine]
        worth = np.zeros(ties.widths[mine])
        for layer in readers:
            if subvecs.get(layer.name, 1) > 1:
                square = np.square(layer.weight, dtype=np.float64)
                worth += square.reshape(-1, len(worth), layer.outputs).sum(axis=(0, 2))
        if not worth.any():
            continue
        size = np.sqrt(worth)
        size /= np.median(size[size > 0])
        factor = np.clip(size, 1 / MOST, MOST).astype(np.float32)
        for layer in readers:
            parts = layer.weight.reshape(-1, len(factor), layer.outputs)
            layer.weight = (parts / factor[:, None]).reshape(layer.weight.shape)
        for layer in weighted:
            if ties.root(layer.name) == mine:
                layer.weight = layer.weight * factor
                layer.bias = layer.bias * factor
