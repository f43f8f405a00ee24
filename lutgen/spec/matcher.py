"""The parts of a matcher: LUT bank, accumulator tree, requantiser."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lutgen.numeric import (
    Format,
    Grid,
    Int64Array,
    as_int,
    check_ints,
    clog2,
    format_for,
    requantise,
)

__all__ = ["BankSpec", "RequantiserSpec", "TreeSpec"]

MEMORIES = ("rom", "ram")


@dataclass(frozen=True)
class BankSpec:
    """One LUT bank: the table rows of every ``fan_in``-th codebook, ``lanes`` codes wide.

    Parameters
    ----------
    depth : int
        Rows.
    lanes : int
        Codes in a row.
    grid : Grid
        What the codes stand for.
    memory : str
        ``rom``, contents fixed in the Verilog, or ``ram``, filled through the load stream.
    """

    depth: int
    lanes: int
    grid: Grid
    memory: str = "rom"

    def __post_init__(self) -> None:
        as_int(self.depth, "Depth of a LUT bank", low=1)
        as_int(self.lanes, "Lanes", low=1)
        if self.memory not in MEMORIES:
            raise ValueError(f"Memory must be one of {', '.join(MEMORIES)}, not {self.memory!r}")

    @property
    def row_bits(self) -> int:
        """Width of a row."""
        return self.lanes * self.grid.bits

    @property
    def bits(self) -> int:
        """Memory bits."""
        return self.depth * self.row_bits

    @property
    def value(self) -> Format:
        """Format of a decoded value; always signed, as sums are."""
        return format_for(min(self.grid.low, -1), self.grid.high)

    @property
    def latency(self) -> int:
        """Cycles from address to values: the read, and for grids other than ``int`` the decoder."""
        return 1 + (self.grid.kind != "int")

    def compute(self, rows: ArrayLike, address: ArrayLike) -> Int64Array:
        """Values ``[..., lanes]`` of the codes ``rows[address]``, for ``rows`` of ``[depth,
        lanes]``.
        """
        places = check_ints(address, "Addresses", format_for(0, self.depth - 1))
        return self.grid.decode(np.asarray(rows)[places])


@dataclass(frozen=True)
class TreeSpec:
    """A balanced adder tree, registered by level, in two's complement of the accumulator's width.

    Parameters
    ----------
    inputs : int
        Values summed, the fan-in.
    value : Format
        Format of each.
    acc : Format
        Format of the sum that the values end up in. Levels grow to this width and no further:
        addition modulo ``2**bits`` gives the right final sum whenever that sum fits.
    """

    inputs: int
    value: Format
    acc: Format

    def __post_init__(self) -> None:
        as_int(self.inputs, "Inputs of an accumulator tree", low=1)

    @property
    def latency(self) -> int:
        """Cycles from values to sum: the levels."""
        return clog2(self.inputs)

    def level_bits(self, level: int) -> int:
        """Width after ``level`` levels."""
        return min(self.value.bits + level, self.acc.bits)

    @property
    def output_bits(self) -> int:
        """Width of the sum."""
        return self.level_bits(self.latency)

    def compute(self, values: ArrayLike) -> Int64Array:
        """Sums over the last axis, int64."""
        data = check_ints(values, "Values", self.value).astype(np.int64, copy=False)
        return np.asarray(data.sum(axis=-1), dtype=np.int64)


@dataclass(frozen=True)
class RequantiserSpec:
    """``clamp((acc + half) >> shift, lo, hi)``; without an output format the accumulator passes
    unchanged.

    Parameters
    ----------
    acc : Format
        Format of the accumulator, signed.
    shift : int
        Right shift, 0..62.
    output : Format or None
        Format of the result.
    """

    acc: Format
    shift: int
    output: Format | None

    def __post_init__(self) -> None:
        as_int(self.shift, "Shift", low=0, high=62)
        if not self.acc.signed:
            raise ValueError("Accumulator format must be signed")
        if self.output is None and self.shift:
            raise ValueError(f"Shift must be 0 where accumulators are the output, not {self.shift}")

    @property
    def latency(self) -> int:
        """Cycles from accumulator to result."""
        return 1

    @property
    def result(self) -> Format:
        """Format of what comes out."""
        return self.output or self.acc

    def compute(self, acc: ArrayLike) -> Int64Array:
        """Results of accumulators, int64 of the same shape."""
        if self.output is None:
            return np.asarray(acc, dtype=np.int64)
        return requantise(acc, self.shift, self.output)
