"""Stages without gradients: codebooks are clustered, and tables refitted.

Both go layer by layer in order, each layer on the inputs that the layers already converted give,
towards what the float network gives there.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import ceil_div
from lutgen.train import floatnet as fl
from lutgen.train.kmeans import kmeans
from lutgen.train.lookups import Lookup, Vectors
from lutgen.train.lutnet import Flat, LookupNet, LookupOp
from lutgen.train.optim import Float32Array
from lutgen.train.rounding import Feedback, centred
from lutgen.train.scales import Round
from lutgen.train.walk import Floats, walk

__all__ = ["refit", "replace"]

ROWS = 1 << 14  # sub-vectors of a codebook that k-means looks at
PART = 1 << 24  # values of regressors that are formed at once
NOISE = 1e-8  # of a regressor's mean square
JUDGES = 5  # one sample in so many chooses the ridge
FEW, CAUTIOUS = 64, 0.1  # fewer samples than that choose none, and this is taken
MILDEST, STRONGEST = -6, 3  # powers of 4 that it may be
UNKNOWNS = 6144  # a codebook matrix with more is refitted tied: the Gram matrix grows by the square


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
            op.lookup.tie()
            op.lookup.books = clustered(op.lookup, x, rng, iterations, restarts)

    walk(net, Floats(net, origin, q), q, each, progress)


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
    ridge: float | None = None,
    free: bool = True,
    iterations: int = 20,
    restarts: int = 1,
    progress: Callable[[int], object] | None = None,
) -> None:
    """The tables that come nearest to the float network's results, by ridge regression; in place.

    Codebooks are clustered anew on what now arrives. Free tables are rounded so that their errors
    cancel (see `lutgen.train.rounding`).

    Parameters
    ----------
    ridge : float or None
        How strongly the solution is drawn to the product of codebooks and weights, in parts of the
        variance of a regressor; None for what explains samples best that were left out, in each
        layer.
    free : bool
        Whether tables become parameters of their own; else the weights behind them are refitted.
    iterations, restarts
        Of k-means; see `lutgen.train.kmeans.kmeans`.
    """

    def each(op: LookupOp, x: Float32Array, target: Float32Array) -> Round | None:
        if isinstance(op.lookup, Vectors):
            op.lookup.tie()
            op.lookup.books = clustered(op.lookup, x, rng, iterations, restarts)
        if isinstance(op.lookup, Vectors) or not _exact(net, op.inputs[0]):
            return regress(op.lookup, x, target, ridge, free)
        return None

    walk(net, Floats(net, origin, q), q, each, progress)


def _exact(net: LookupNet, name: str) -> bool:
    """Whether the wire is the input itself, and so holds what the float network has there."""
    ops = {op.name: op for op in net.ops}
    while isinstance(ops.get(name), Flat):
        name = ops[name].inputs[0]
    return name == "input"


class Moments:
    """Sums over rows of regressors and of what they should give, for a regression.

    Parameters
    ----------
    pivot : float32 array ``[unknowns]``
        Near the regressors' means: float32 products then keep what differs from row to row.
    middle : float32 array ``[outputs]``
        Near the outputs' means.
    """

    def __init__(self, pivot: Float32Array, middle: Float32Array) -> None:
        self.pivot, self.middle = pivot, middle
        self.gram = np.zeros((len(pivot), len(pivot)))
        self.cross = np.zeros((len(pivot), len(middle)))
        self.sums, self.totals = np.zeros(len(pivot)), np.zeros(len(middle))
        self.count = 0

    def add(self, regressors: Float32Array, owed: Float32Array) -> None:
        """Takes rows ``[unknowns, rows]`` and ``[outputs, rows]``, and spoils both."""
        regressors -= self.pivot[:, None]
        owed -= self.middle[:, None]
        self.gram += regressors @ regressors.T
        self.cross += regressors @ owed.T
        self.sums += regressors.sum(axis=1, dtype=np.float64)
        self.totals += owed.sum(axis=1, dtype=np.float64)
        self.count += owed.shape[1]

    def merge(self, other: "Moments") -> None:
        """Takes the rows of another, which has the same pivot and middle."""
        for name in ("gram", "cross", "sums", "totals", "count"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def centred(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Gram matrix and cross products about the means."""
        mean = self.sums / self.count
        return (
            self.gram - np.outer(self.sums, mean),
            self.cross - np.outer(mean, self.totals),
        )

    def system(self, ridge: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The matrix that `solve` solves, and its right side."""
        gram, cross = self.centred()
        varied = float(np.trace(gram)) / len(gram)
        square = varied + self.count * float(np.mean((self.sums / self.count + self.pivot) ** 2))
        # Where inputs hardly vary, or not at all, rounding errors must not be taken for variation.
        gram[np.diag_indices_from(gram)] += ridge * varied + NOISE * square or 1.0
        return gram, cross

    def solve(self, ridge: float) -> NDArray[np.float64]:
        """Coefficients ``[unknowns, outputs]``; ``ridge`` in parts of a regressor's variance."""
        return np.asarray(np.linalg.solve(*self.system(ridge)))

    def bias(self, change: NDArray[np.float64]) -> NDArray[np.float64]:
        """The constant ``[outputs]`` that goes with coefficients."""
        mean = self.sums / self.count + self.pivot
        return self.totals / self.count + self.middle - mean @ change

    def unexplained(self, change: NDArray[np.float64]) -> float:
        """The squares that coefficients leave, summed about the means; less those of no change."""
        gram, cross = self.centred()
        return float(np.vdot(change, gram @ change - 2 * cross))


def best_ridge(fitted: Moments, judge: Moments) -> float:
    """The ridge, a power of 4, with which rows that were not fitted are explained best."""
    tried: dict[int, float] = {}

    def left(power: int) -> float:
        if power not in tried:
            tried[power] = judge.unexplained(fitted.solve(4.0**power))
        return tried[power]

    at = -3
    for step in (1, -1):
        while MILDEST <= at + step <= STRONGEST and left(at + step) < left(at):
            at += step
    return float(4.0**at)


def regress(
    lookup: Lookup,
    x: Float32Array,
    target: Float32Array,
    ridge: float | None,
    free: bool,
) -> Round | None:
    """Refits one layer's tables, or the weights behind them, and its bias.

    Without a ``ridge``, one sample in `JUDGES` is left out at first and chooses it. Gives what
    rounds the tables, if they are free. What they are before is where the ridge draws them to.
    """
    rows = lookup.rows
    free = (
        free
        and isinstance(lookup, Vectors)
        and rows.taps * lookup.groups * lookup.centroids <= UNKNOWNS
    )
    if not free and isinstance(lookup, Vectors) and lookup.residual is not None:
        return None  # free tables too large for it stay as they are
    start = lookup.real_tables() if free and isinstance(lookup, Vectors) else lookup.weight
    count = start.shape[1]
    unknowns = rows.taps * count
    pixels = int(np.prod(target.shape[2:], dtype=int))
    enough = min(x.shape[1], max(256, ceil_div(48 * unknowns, pixels)))
    if ridge is None and enough < FEW:
        ridge = CAUTIOUS
    fitting = enough if ridge is not None else enough - enough // JUDGES
    size = max(1, PART // (unknowns * pixels))
    kept: list[Moments] = []
    for begin, end in ((0, fitting), (fitting, enough)):
        for first in range(begin, end, size):
            part, wanted = (k[:, first : min(first + size, end)] for k in (x, target))
            placed = regressors(lookup, part, free)
            owed = (wanted - rows.product(start, placed, part.shape)).reshape(lookup.outputs, -1)
            stacked = np.empty((unknowns, owed.shape[1]), dtype=np.float32)
            for tap, columns in rows.columns(placed, part.shape):
                stacked[tap * count : (tap + 1) * count] = columns
            if not kept:
                kept = [Moments(stacked.mean(axis=1), owed.mean(axis=1))]
            if first == begin > 0:
                kept.append(Moments(kept[0].pivot, kept[0].middle))
            kept[-1].add(stacked, owed)
    whole = kept[0]
    if ridge is None:
        # What suits is so much in all, whatever the number of rows.
        ridge = best_ridge(*kept) * whole.count / (whole.count + kept[1].count)
        whole.merge(kept.pop())
    matrix, right = whole.system(ridge)
    change = np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)
    if free and isinstance(lookup, Vectors):
        return _freed(lookup, whole, matrix, start.reshape(change.shape), change)
    lookup.bias[:] = whole.bias(change)
    moved: Float32Array = change.reshape(start.shape).astype(np.float32)
    moved[:, rows.features :] = 0
    lookup.weight += moved
    return None


def _freed(
    lookup: Vectors,
    moments: Moments,
    matrix: NDArray[np.float64],
    start: Float32Array,
    change: NDArray[np.float64],
) -> Round:
    """Gives a layer tables of its own, ``start`` and ``change``; and what rounds them."""
    best = np.asarray(start + change, dtype=np.float64)
    tied = lookup.tied_tables().reshape(change.shape)
    if lookup.rows.whole:
        whole = best
        best = centred(whole, lookup.centroids)
        lookup.moved += (whole - best)[:: lookup.centroids].sum(axis=0)

    def take(tables: NDArray[np.float64]) -> None:
        difference = tables - start
        lookup.bias[:] = moments.bias(difference)
        shape = (lookup.rows.taps, -1, lookup.outputs)
        lookup.residual = (tables - tied).reshape(shape).astype(np.float32)

    take(best)
    feedback = Feedback(matrix, lookup.table)

    def rounding() -> None:
        scale = lookup.table_scale
        take(feedback.rounded(best / scale) * np.float64(scale))

    return rounding


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
