"""Sub-vector in, index out: nearest-centroid encoders and the digits of exact layers."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from lutgen.numeric import Format, Int64Array, as_int, ceil_div, check_ints, clog2
from lutgen.spec.distance import DistanceSpec

__all__ = ["DigitSpec", "EncoderSpec", "IndexSpec", "narrowest"]


def narrowest(low: int, high: int) -> type[np.signedinteger[Any]]:
    """The narrowest signed numpy integer that holds ``low..high``: narrow arithmetic that cannot
    wrap.
    """
    for kind in (np.int16, np.int32, np.int64):
        info = np.iinfo(kind)
        if info.min <= low and high <= info.max:
            return kind
    raise ValueError(f"The range {low}..{high} does not fit 64 bits")


@dataclass(frozen=True)
class EncoderSpec:
    """A nearest-centroid encoder (LUT-DLA's CCU): ``argmin_j dist(x, C[j])``, ties to the lowest j.

    Parameters
    ----------
    element : Format
        Format of activations and centroids.
    subvec : int
        Sub-vector length v.
    centroids : int
        Centroids c of a codebook, at least 2.
    metric : str
        ``l1``, ``l2`` or ``chebyshev``.
    parallel_centroids, parallel_dims : int
        Centroids and dimensions compared in one cycle; the rest take turns, dimensions innermost.
    """

    element: Format
    subvec: int
    centroids: int
    metric: str
    parallel_centroids: int
    parallel_dims: int

    def __post_init__(self) -> None:
        as_int(self.subvec, "Sub-vector length", low=1)
        as_int(self.centroids, "Centroids", low=2)
        as_int(self.parallel_centroids, "Encoder centroids per cycle", low=1, high=self.centroids)
        as_int(self.parallel_dims, "Encoder dimensions per cycle", low=1, high=self.subvec)
        _ = self.distance  # validates the metric

    @property
    def distance(self) -> DistanceSpec:
        """One of the ``parallel_centroids`` distance units."""
        return DistanceSpec(self.metric, self.parallel_dims, self.element)

    @property
    def whole_distance(self) -> DistanceSpec:
        """The distance of whole sub-vectors, which the units' partial ones add up to."""
        return DistanceSpec(self.metric, self.subvec, self.element)

    @property
    def blocks(self) -> int:
        """Turns that the centroids take."""
        return ceil_div(self.centroids, self.parallel_centroids)

    @property
    def dim_steps(self) -> int:
        """Turns that the dimensions take within one block of centroids."""
        return ceil_div(self.subvec, self.parallel_dims)

    @property
    def interval(self) -> int:
        """Cycles that one sub-vector occupies the encoder."""
        return self.blocks * self.dim_steps

    @property
    def latency(self) -> int:
        """Cycles from a sub-vector's last step to its index.

        Codebook read, distance, sum over dimensions (if in turn), levels of the comparison tree,
        running minimum over blocks (if in turn).
        """
        return (
            1
            + self.distance.latency
            + (self.dim_steps > 1)
            + clog2(self.parallel_centroids)
            + (self.blocks > 1)
        )

    @property
    def index_bits(self) -> int:
        """Width of an index."""
        return clog2(self.centroids)

    @property
    def row_bits(self) -> int:
        """Width of a codebook memory row: the centroid entries of one step."""
        return self.parallel_centroids * self.parallel_dims * self.element.bits

    def rows(self, codebooks: ArrayLike) -> Int64Array:
        """Contents of the codebook memory, one row a step.

        A last block that is not full repeats the last centroid: its copies have higher numbers, so
        that the real one wins every tie. Missing dimensions are 0.

        Parameters
        ----------
        codebooks : int array ``[g, c, v]``

        Returns
        -------
        int64 array ``[g * interval, parallel_centroids, parallel_dims]``
        """
        books = check_ints(codebooks, "Codebooks", self.element).astype(np.int64)
        missing = self.blocks * self.parallel_centroids - self.centroids
        books = np.concatenate([books, np.repeat(books[:, -1:], missing, axis=1)], axis=1)
        short = self.dim_steps * self.parallel_dims - self.subvec
        books = np.pad(books, ((0, 0), (0, 0), (0, short)))
        shape = (-1, self.blocks, self.parallel_centroids, self.dim_steps, self.parallel_dims)
        steps = books.reshape(shape).transpose(0, 1, 3, 2, 4)
        return steps.reshape(-1, self.parallel_centroids, self.parallel_dims)

    def compute(self, x: ArrayLike, codebooks: ArrayLike) -> Int64Array:
        """Indices of sub-vectors.

        Parameters
        ----------
        x : int array ``[batch, g, v]``
        codebooks : int array ``[g, c, v]``

        Returns
        -------
        int64 array ``[batch, g]``

        Notes
        -----
        Distances and centroid numbers share one integer, ``distance * 2**b + j``, whose minimum is
        the nearest centroid with ties to the lowest j. The dtype is the narrowest that holds the
        greatest such integer.
        """
        books = check_ints(codebooks, "Codebooks", self.element)
        inputs = check_ints(x, "Inputs of an encoder", self.element)
        bits = self.index_bits
        top = ((self.whole_distance.high + 1) << bits) - 1
        dtype = narrowest(-top, top)
        data = np.ascontiguousarray(inputs.transpose(1, 2, 0)).astype(dtype)  # [g, v, batch]
        books = books.astype(dtype)[..., None]  # [g, c, v, 1]
        numbers = np.arange(self.centroids, dtype=dtype)[:, None]
        groups, _, batch = data.shape
        indices = np.empty((groups, batch), dtype=np.int64)
        term = np.empty((self.centroids, batch), dtype=dtype)
        total = np.empty_like(term)
        for g in range(groups):
            for d in range(self.subvec):
                out = term if d else total
                np.subtract(data[g, d], books[g, :, d], out=out)
                if self.metric == "l2":
                    np.multiply(out, out, out=out)
                else:
                    np.abs(out, out=out)
                if d and self.metric == "chebyshev":
                    np.maximum(total, term, out=total)
                elif d:
                    np.add(total, term, out=total)
            np.left_shift(total, bits, out=total)
            np.bitwise_or(total, numbers, out=total)
            indices[g] = np.minimum.reduce(total, axis=0) & ((1 << bits) - 1)
        return np.ascontiguousarray(indices.T)


@dataclass(frozen=True)
class DigitSpec:
    """The indices of an exact layer: an activation's bits, cut into digits (distributed
    arithmetic).

    Parameters
    ----------
    element : Format
        Format of the activation.
    centroids : int
        The radix c, a power of two of at least 2.
    """

    element: Format
    centroids: int

    def __post_init__(self) -> None:
        as_int(self.centroids, "Centroids", low=2)
        if self.centroids & (self.centroids - 1):
            raise ValueError(
                f"Centroids of a digit layer must be a power of two, not {self.centroids}"
            )

    @property
    def index_bits(self) -> int:
        """Width of a digit."""
        return clog2(self.centroids)

    @property
    def digits(self) -> int:
        """Digits D of one activation."""
        return ceil_div(self.element.bits, self.index_bits)

    @property
    def interval(self) -> int:
        """Cycles that one activation occupies the encoder: it is wiring."""
        return 1

    @property
    def latency(self) -> int:
        """Cycles from activation to digits: none."""
        return 0

    def weights(self) -> Int64Array:
        """What each digit value is worth, int64 ``[D, c]``: the top digit of a signed activation is
        signed.
        """
        values = np.arange(self.centroids, dtype=np.int64)
        worth = values[None, :] << (self.index_bits * np.arange(self.digits)[:, None])
        if self.element.signed:
            negative = values >= self.centroids // 2
            worth[-1, negative] -= 1 << (self.index_bits * self.digits)
        return worth

    def compute(self, x: ArrayLike) -> Int64Array:
        """Digits, lowest first: int array ``[batch, k]`` to int64 ``[batch, k * D]``."""
        data = check_ints(x, "Inputs of a digit layer", self.element).astype(np.int64)
        shifts = self.index_bits * np.arange(self.digits)
        digits = (data[..., None] >> shifts) & (self.centroids - 1)
        return digits.reshape(*data.shape[:-1], -1)


@dataclass(frozen=True)
class IndexSpec:
    """Where indices arrive instead of activations, each with a mark on top for one that stands for
    nothing: a tap outside the image.

    Parameters
    ----------
    element : Format
        Unsigned, of an index and its mark.
    centroids : int
        Centroids of the codebooks that they come from.
    """

    element: Format
    centroids: int

    def __post_init__(self) -> None:
        as_int(self.centroids, "Centroids", low=2)
        if self.element != self.marked(self.centroids):
            raise ValueError(
                f"Indices must come as {self.marked(self.centroids)}, not {self.element}"
            )

    @staticmethod
    def marked(centroids: int) -> Format:
        """The format of an index and its mark."""
        return Format(clog2(centroids) + 1, False)

    @property
    def index_bits(self) -> int:
        """Width of an index."""
        return clog2(self.centroids)

    @property
    def interval(self) -> int:
        """Cycles that one index takes: it is wiring."""
        return 1

    @property
    def latency(self) -> int:
        """Cycles from what arrives to the index: none."""
        return 0
