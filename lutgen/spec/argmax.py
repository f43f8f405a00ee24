"""The number of the greatest element of a stream."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lutgen.numeric import Format, Int64Array, as_int, ceil_div, clog2, format_for

__all__ = ["ArgmaxSpec"]


@dataclass(frozen=True)
class ArgmaxSpec:
    """An argmax stage: a comparison tree over the lanes of a beat, a running maximum over beats.

    Parameters
    ----------
    elements : int
        Elements of one sample.
    element : Format
        Format of each.
    lanes : int
        Elements of one input beat.
    """

    elements: int
    element: Format
    lanes: int

    def __post_init__(self) -> None:
        as_int(self.elements, "Elements of an argmax", low=1)
        as_int(self.lanes, "Lanes", low=1)

    @property
    def beats(self) -> int:
        """Input beats of one sample."""
        return ceil_div(self.elements, self.lanes)

    @property
    def result(self) -> Format:
        """Format of the class."""
        return format_for(0, self.elements - 1)

    @property
    def interval(self) -> int:
        """Cycles between two samples that this stage alone allows."""
        return self.beats

    @property
    def latency(self) -> int:
        """Cycles from the last beat to the result register: tree, running maximum, result."""
        return clog2(self.lanes) + (self.beats > 1) + 1

    def compute(self, x: ArrayLike) -> Int64Array:
        """``[batch, elements]`` to ``[batch, 1]``, ties to the lowest."""
        return np.asarray(np.asarray(x).argmax(axis=1)[:, None], dtype=np.int64)
