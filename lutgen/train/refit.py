"""Stages without gradients: codebooks are clustered, and tables refitted.

Both go layer by layer in order, each layer on the inputs that the layers already converted give,
towards what the float network gives there.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import ceil_div
from lutgen.train import floatnet as fl
from lutgen.train.kmeans import kmeans
from lutgen.train.lookups import Lookup, Vectors
from lutgen.train.lutnet import Flat, Join, LookupNet, LookupOp, Op, Wire
from lutgen.train.optim import Float32Array
from lutgen.train.scales import Bases, fit_op, forward_by_parts

__all__ = ["refit", "replace"]

ROWS = 1 << 14  # sub-vectors of a codebook that k-means looks at
SCALED = 1 << 16  # pixels that scales are chosen on
PART = 1 << 24  # values of regressors that are formed at once
NOISE = 1e-8  # of a regressor's mean square
UNKNOWNS = 6144  # a codebook matrix with more is refitted tied: the Gram matrix grows by the square


def walk(
    net: LookupNet,
    origin: fl.FloatNet,
    q: Float32Array,
    each: Callable[[LookupOp, Float32Array, Float32Array], None],
    progress: Callable[[int], object] | None = None,
) -> None:
    """Calls ``each`` with every lookup operation, what now arrives there and what it should give.

    Scales follow. Behind a residual join, the last layer to arrive is asked for what the others
    lack too, so that errors of the skip path are made good.
    """
    size = max(1, net.part)
    bases = Bases(net)
    ops = {op.name: op for op in net.ops}
    wires = {"input": net.source}
    values = {"input": q}
    real = {"input": q * np.float32(net.source.scale)}
    left, left_real = dict(net.uses), {name: len(u) for name, u in origin.users.items()}
    done = 0
    for layer in origin.layers:
        inputs = [real[name] for name in layer.inputs]
        parts = [
            layer.forward([x[:, s : s + size] for x in inputs], False)[0]
            for s in range(0, q.shape[1], size)
        ]
        real[layer.name] = np.concatenate(parts, axis=1)
        for name in layer.inputs:
            left_real[name] -= 1
            if not left_real[name]:
                del real[name]
        op = ops.get(layer.name)
        if op is None:
            continue
        xs = [values[name] for name in op.inputs]
        target = real[layer.name]
        if isinstance(op, LookupOp):
            target = target + _owed(net, origin, op, real, values, wires)
            op.form([wires[name] for name in op.inputs])
            each(op, xs[0], target)
        few = max(size, min(len(q[0]), SCALED // int(np.prod(xs[0].shape[2:], dtype=int))))
        fit_op(
            op,
            [x[:, :few] for x in xs],
            [wires[name] for name in op.inputs],
            target[:, :few],
            bases,
        )
        wires[op.name] = op.wire
        ints = op.lookup.integers() if isinstance(op, LookupOp) else None
        values[op.name] = forward_by_parts(op, xs, ints, size)
        for name in op.inputs:
            left[name] -= 1
            if not left[name]:
                del values[name]
        if isinstance(op, LookupOp):
            done += 1
            if progress is not None:
                progress(done)


def _owed(
    net: LookupNet,
    origin: fl.FloatNet,
    op: Op,
    real: dict[str, Float32Array],
    values: dict[str, Float32Array],
    wires: dict[str, Wire],
) -> NDArray[Any] | float:
    """What the other inputs of a join that only ``op`` is missing from lack."""
    users = [user for user in net.ops if op.name in user.inputs]
    if len(users) != 1 or not isinstance(users[0], Join):
        return 0.0
    layer = next(layer for layer in origin.layers if layer.name == users[0].name)
    total: NDArray[Any] | float = 0.0
    for name, ideal in zip(users[0].inputs, layer.inputs, strict=True):
        if name == op.name:
            continue
        if name not in values:
            return 0.0
        total = total + (real[ideal] - values[name] * np.float32(wires[name].scale))
    return total


def replace(
    net: LookupNet,
    origin: fl.FloatNet,
    q: Float32Array,
    rng: np.random.Generator,
    *,
    iterations: int = 20,
    restarts: int = 1,
    progress: Callable[[int], object] | None = None,
) -> None:
    """Codebooks by k-means, tables the product of codebooks and weights; in place.

    Parameters
    ----------
    q : float32 array ``[C, batch, H, W]`` or ``[K, batch]``
        Input integers.
    progress : callable or None
        Called with the layers done after each.
    """

    def each(op: LookupOp, x: Float32Array, target: Float32Array) -> None:
        if isinstance(op.lookup, Vectors):
            op.lookup.residual = None
            op.lookup.books = clustered(op.lookup, x, rng, iterations, restarts)

    walk(net, origin, q, each, progress)


def clustered(
    lookup: Vectors, x: Float32Array, rng: np.random.Generator, iterations: int, restarts: int
) -> Float32Array:
    """Codebooks ``[g, c, v]`` of a layer's inputs by k-means."""
    pixels = int(np.prod(x.shape[2:], dtype=int))
    few = x[:, : max(32, ROWS // pixels * 2)]
    vectors = lookup.vectors(few).transpose(2, 0, 1)
    if len(vectors) > ROWS:
        vectors = vectors[rng.choice(len(vectors), ROWS, replace=False)]
    return kmeans(
        vectors,
        lookup.centroids,
        lookup.metric,
        rng,
        iterations=iterations,
        restarts=restarts,
    )


def refit(
    net: LookupNet,
    origin: fl.FloatNet,
    q: Float32Array,
    rng: np.random.Generator,
    *,
    ridge: float = 1e-3,
    free: bool = True,
    iterations: int = 20,
    restarts: int = 1,
    progress: Callable[[int], object] | None = None,
) -> None:
    """The tables that come nearest to the float network's results, by ridge regression; in place.

    Codebooks are clustered anew on what now arrives.

    Parameters
    ----------
    ridge : float
        How strongly the solution is drawn to the product of codebooks and weights, in parts of the
        variance of a regressor.
    free : bool
        Whether tables become parameters of their own; else the weights behind them are refitted.
    iterations, restarts
        Of k-means; see `lutgen.train.kmeans.kmeans`.
    """

    def each(op: LookupOp, x: Float32Array, target: Float32Array) -> None:
        if isinstance(op.lookup, Vectors):
            op.lookup.residual = None
            op.lookup.books = clustered(op.lookup, x, rng, iterations, restarts)
        if isinstance(op.lookup, Vectors) or not _exact(net, op.inputs[0]):
            regress(op.lookup, x, target, ridge, free)

    walk(net, origin, q, each, progress)


def _exact(net: LookupNet, name: str) -> bool:
    """Whether the wire is the input itself, and so holds what the float network has there."""
    ops = {op.name: op for op in net.ops}
    while isinstance(ops.get(name), Flat):
        name = ops[name].inputs[0]
    return name == "input"


def regress(
    lookup: Lookup, x: Float32Array, target: Float32Array, ridge: float, free: bool
) -> None:
    """Refits one layer's tables, or the weights behind them, and its bias."""
    rows = lookup.rows
    free = (
        free
        and isinstance(lookup, Vectors)
        and rows.taps * lookup.groups * lookup.centroids <= UNKNOWNS
    )
    start = lookup.tied_tables() if free and isinstance(lookup, Vectors) else lookup.weight
    count = start.shape[1]
    unknowns = rows.taps * count
    gram = np.zeros((unknowns, unknowns))
    cross = np.zeros((unknowns, lookup.outputs))
    mean, centre, total = np.zeros(unknowns), np.zeros(lookup.outputs), 0
    pixels = int(np.prod(target.shape[2:], dtype=int))
    enough = max(256, ceil_div(48 * unknowns, pixels))
    size = max(1, PART // (unknowns * pixels))
    for first in range(0, min(x.shape[1], enough), size):
        part, wanted = x[:, first : first + size], target[:, first : first + size]
        placed = regressors(lookup, part, free)
        owed = wanted - rows.product(start, placed, part.shape)
        owed = owed.reshape(lookup.outputs, -1)
        stacked = np.empty((unknowns, owed.shape[1]), dtype=np.float32)
        for tap, columns in rows.columns(placed, part.shape):
            stacked[tap * count : (tap + 1) * count] = columns
        if not total:  # near the means: float32 then keeps what differs from sample to sample
            pivot, middle = stacked.mean(axis=1), owed.mean(axis=1)
        stacked -= pivot[:, None]
        owed -= middle[:, None]
        gram += stacked @ stacked.T
        cross += stacked @ owed.T
        mean += stacked.sum(axis=1, dtype=np.float64)
        centre += owed.sum(axis=1, dtype=np.float64)
        total += owed.shape[1]
    mean /= total
    centre /= total
    gram -= total * np.outer(mean, mean)
    cross -= total * np.outer(mean, centre)
    varied = float(np.trace(gram)) / unknowns
    square = varied + total * float(np.mean((mean + pivot) ** 2))
    # Where inputs hardly vary, or not at all, rounding errors must not be taken for variation.
    gram[np.diag_indices_from(gram)] += ridge * varied + NOISE * square or 1.0
    change = np.linalg.solve(gram, cross)
    lookup.bias[:] = centre + middle - (mean + pivot) @ change
    moved: Float32Array = change.reshape(start.shape).astype(np.float32)
    if free and isinstance(lookup, Vectors):
        lookup.residual = moved
    else:
        moved[:, rows.features :] = 0
        lookup.weight += moved


def regressors(lookup: Lookup, x: Float32Array, free: bool) -> list[Float32Array]:
    """What the unknowns of a refit are multiplied with: one-hot indices, nearest centroids, or the
    inputs themselves; placed.
    """
    rows = lookup.rows
    if not isinstance(lookup, Vectors):
        return rows.place(rows.rows(x) * np.float32(lookup.in_scale), x.shape)
    books = lookup.codebooks()
    index = lookup.indices(x, books)
    if free:
        return rows.place_hot(index, lookup.centroids, x.shape)
    near = np.take_along_axis(
        books.transpose(0, 2, 1).astype(np.float32), index[:, None, :], axis=2
    )
    near *= np.float32(lookup.in_scale)
    return rows.place(near.reshape(-1, index.shape[1]), x.shape)
