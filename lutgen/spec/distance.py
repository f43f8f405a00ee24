"""Distances between integer sub-vectors (LUT-DLA, section IV: the dPE's similarity metrics)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lutgen.numeric import Format, Int64Array, as_int, check_ints, clog2, format_for

__all__ = ["METRICS", "DistanceSpec"]

METRICS = ("l1", "l2", "chebyshev")


@dataclass(frozen=True)
class DistanceSpec:
    """One distance unit: ``dims`` elements of a sub-vector against as many of a centroid, one
    distance a cycle.

    Parameters
    ----------
    metric : str
        ``l1`` (sum of \\|x - c\\|), ``l2`` (sum of (x - c)^2) or ``chebyshev`` (max of \\|x -
        c\\|).
    dims : int
        Elements compared in one cycle.
    element : Format
        Format of both operands.
    """

    metric: str
    dims: int
    element: Format

    def __post_init__(self) -> None:
        if self.metric not in METRICS:
            raise ValueError(f"Metric must be one of {', '.join(METRICS)}, not {self.metric!r}")
        as_int(self.dims, "Dimensions of a distance unit", low=1)

    @property
    def term_high(self) -> int:
        """The greatest value of one element's term."""
        difference = self.element.high - self.element.low
        return difference * difference if self.metric == "l2" else difference

    @property
    def high(self) -> int:
        """The greatest distance."""
        return self.term_high if self.metric == "chebyshev" else self.dims * self.term_high

    @property
    def output(self) -> Format:
        """Format of the distance."""
        return format_for(0, self.high)

    @property
    def latency(self) -> int:
        """Cycles from operands to distance: the difference, the square for ``l2``, each level of
        the tree.
        """
        return 1 + (self.metric == "l2") + clog2(self.dims)

    def compute(self, x: ArrayLike, c: ArrayLike) -> Int64Array:
        """Distances over the last axis of ``x`` and ``c`` (broadcast against each other), int64."""
        left = check_ints(x, "Elements", self.element).astype(np.int64, copy=False)
        right = check_ints(c, "Entries of centroids", self.element).astype(np.int64, copy=False)
        return self.reduce(left - right)

    def reduce(self, difference: Int64Array) -> Int64Array:
        """The distance from the differences along the last axis."""
        if self.metric == "l2":
            return np.asarray((difference * difference).sum(axis=-1), dtype=np.int64)
        if self.metric == "l1":
            return np.asarray(np.abs(difference).sum(axis=-1), dtype=np.int64)
        return np.asarray(np.abs(difference).max(axis=-1), dtype=np.int64)
