"""Element by element: residual joins and functions by table."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lutgen.numeric import Format, Int64Array, as_int, check_ints, format_for, requantise

__all__ = ["AddSpec", "MapSpec"]


@dataclass(frozen=True)
class AddSpec:
    """``clamp((sum_i (x_i << left_shift_i) + half) >> shift)``.

    Parameters
    ----------
    elements : tuple of Format
        Format of each input, two or more.
    left_shifts : tuple of int
        0..15, one an input.
    shift : int
        0..31; half is as in `lutgen.numeric.requantise`.
    output : Format
        Format of the outputs.
    """

    elements: tuple[Format, ...]
    left_shifts: tuple[int, ...]
    shift: int
    output: Format

    def __post_init__(self) -> None:
        if len(self.elements) < 2:
            raise ValueError(f"A sum must have at least 2 inputs, not {len(self.elements)}")
        if len(self.left_shifts) != len(self.elements):
            raise ValueError(
                f"Left shifts must be as many as the {len(self.elements)} inputs, "
                f"not {len(self.left_shifts)}"
            )
        for left in self.left_shifts:
            as_int(left, "Left shift", low=0, high=15)
        as_int(self.shift, "Shift", low=0, high=31)

    @property
    def latency(self) -> int:
        """Cycles from the inputs to the result: sum, requantiser."""
        return 2

    @property
    def acc(self) -> Format:
        """Format of the sum, signed."""
        pairs = list(zip(self.elements, self.left_shifts, strict=True))
        low = sum(element.low << left for element, left in pairs)
        return format_for(min(low, -1), sum(element.high << left for element, left in pairs))

    @property
    def result(self) -> Format:
        """Format of the outputs."""
        return self.output

    def compute(self, xs: Sequence[ArrayLike]) -> Int64Array:
        """Arrays of one shape, one an input, to int64 of this shape."""
        data = [
            check_ints(x, "Inputs of a sum", element).astype(np.int64, copy=False)
            for x, element in zip(xs, self.elements, strict=True)
        ]
        total = np.left_shift(data[0], self.left_shifts[0])
        for x, left in zip(data[1:], self.left_shifts[1:], strict=True):
            total += np.left_shift(x, left)
        return requantise(total, self.shift, self.output)


@dataclass(frozen=True)
class MapSpec:
    """A function of one element by table.

    Parameters
    ----------
    element : Format
        Format of the inputs.
    output : Format
        Format of the outputs.
    """

    element: Format
    output: Format

    @property
    def latency(self) -> int:
        """Cycles from input to result."""
        return 1

    @property
    def depth(self) -> int:
        """Entries of the table."""
        return 1 << self.element.bits

    @property
    def bits(self) -> int:
        """Memory bits of the table."""
        return self.depth * self.output.bits

    @property
    def result(self) -> Format:
        """Format of the outputs."""
        return self.output

    def compute(self, x: ArrayLike, table: ArrayLike) -> Int64Array:
        """Results, int64 of the shape of ``x``.

        Parameters
        ----------
        x : int array
        table : int array ``[depth]``
            Entry i is for the input whose two's complement bits, read as unsigned, are i.
        """
        data = check_ints(x, "Inputs of a map", self.element).astype(np.int64, copy=False)
        entries = check_ints(table, "Entries of a map", self.output)
        return np.asarray(entries[data & (self.depth - 1)], dtype=np.int64)
