"""Which channels share a sub-vector: those that vary together.

The order of hidden channels is free: moving them moves columns of the layers that give them and
rows of the layers that read them. Sixteen centroids serve four channels that move together far
better than four that do not.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from lutgen.train.floatnet import BatchNorm, FloatLayer, FloatNet, Weighted
from lutgen.train.optim import Float32Array
from lutgen.train.ties import Ties

__all__ = ["group", "order"]

ROWS = 1 << 15  # values of a channel that correlations are measured on


def likeness(activations: Float32Array) -> NDArray[np.float64]:
    """Correlations ``[unit, unit]`` of activations ``[unit, sample]``."""
    centred = activations - activations.mean(axis=1, keepdims=True)
    # Units that never fire correlate with none.
    length = np.sqrt((centred * centred).sum(axis=1, keepdims=True)) + np.float32(1e-9)
    unit = centred / length
    alike: NDArray[np.float64] = (unit @ unit.T).astype(np.float64)
    return alike


def order(alike: NDArray[np.float64], subvec: int) -> NDArray[np.int64]:
    """An order of units in which every ``subvec`` neighbours are correlated.

    Greedy: the most correlated pair starts a sub-vector, and the unit most correlated with those in
    it joins until it is full.

    Parameters
    ----------
    alike : float array ``[unit, unit]``
        How well two units go together.
    subvec : int
        Sub-vector length.

    Returns
    -------
    int64 array ``[unit]``
    """
    pairs = alike.copy()
    np.fill_diagonal(pairs, -np.inf)
    units = len(pairs)
    free = np.ones(units, dtype=bool)
    chosen: list[int] = []
    while len(chosen) < units:
        open_pairs = np.where(free[:, None] & free, pairs, -np.inf)
        member = int(open_pairs.argmax() // units) if free.sum() > 1 else int(free.argmax())
        pull = np.zeros(units)
        for _ in range(min(subvec, units - len(chosen))):
            chosen.append(member)
            free[member] = False
            pull += np.where(free, pairs[member], 0)
            member = int(np.where(free, pull, -np.inf).argmax())
    return np.array(chosen, dtype=np.int64)


def group(net: FloatNet, x: Float32Array, subvecs: Mapping[str, int]) -> None:
    """Reorders the hidden channels of ``net`` in place; what it computes stays, up to rounding.

    Channels that a residual join or a pool ties together move together. The input and the result
    keep their order.

    Parameters
    ----------
    x : float32 array, the batch inside
        Inputs to measure correlations on.
    subvecs : mapping of layer name to int
        Sub-vector length of the layers that look up; 1 where the order does not matter.
    """
    ties = Ties(net)
    alike: dict[str, NDArray[np.float64]] = {}
    asked: dict[str, list[int]] = {}
    readers: dict[str, list[Weighted]] = {}
    for layer in net.layers:
        if isinstance(layer, Weighted):
            readers.setdefault(layer.inputs[0], []).append(layer)

    def visit(layer: FloatLayer, y: Float32Array) -> None:
        for reader in readers.get(layer.name, []):
            mine = ties.root(layer.name)
            if subvecs.get(reader.name, 1) > 1 and mine not in ties.fixed:
                width = ties.widths[mine]
                if y.ndim == 2:  # a flattened image has its channels inside
                    y = y.reshape(-1, width, y.shape[1]).transpose(1, 0, 2)
                flat = y.reshape(width, -1)
                step = max(1, flat.shape[1] // ROWS)
                found = likeness(flat[:, ::step])
                if mine in alike and len(alike[mine]) == len(found):
                    found += alike[mine]
                alike[mine] = found
                asked.setdefault(mine, []).append(subvecs[reader.name])

    net.run(x, visit)
    places = {
        name: order(found, max(set(asked[name]), key=asked[name].count))
        for name, found in alike.items()
    }
    for layer in net.layers:
        if isinstance(layer, BatchNorm) and (own := places.get(ties.root(layer.name))) is not None:
            for array in (layer.gain, layer.offset, layer.mean, layer.variance):
                array[:] = array.reshape(-1, len(own))[:, own].reshape(-1)
        if not isinstance(layer, Weighted):
            continue
        own = places.get(ties.root(layer.name))
        if own is not None:
            layer.weight = np.ascontiguousarray(layer.weight[:, :, own])
            layer.bias = layer.bias[own]
        read = places.get(ties.root(layer.inputs[0]))
        if read is not None:
            taps, features, outputs = layer.weight.shape
            split = layer.weight.reshape(taps, features // len(read), len(read), outputs)
            layer.weight = np.ascontiguousarray(split[:, :, read]).reshape(layer.weight.shape)
