"""The queue between two clocks: how deep it is, and what it takes to get through."""

from dataclasses import dataclass

from lutgen.numeric import as_int, clog2

__all__ = ["CrossingSpec"]


@dataclass(frozen=True)
class CrossingSpec:
    """A queue that is written by one clock and read by another.

    Parameters
    ----------
    width : int
        Bits of an entry.
    depth : int
        Rows of its memory, a power of two from 2 on. At equal rates of both clocks, 8 rows are
        enough for an entry in every tick.
    """

    width: int
    depth: int

    def __post_init__(self) -> None:
        as_int(self.width, "Width of a crossing", low=1)
        as_int(self.depth, "Depth of a crossing", low=2)
        if self.depth & (self.depth - 1):
            raise ValueError(f"Depth of a crossing must be a power of two, not {self.depth}")

    @property
    def entries(self) -> int:
        """The most entries that it holds: one more stands in the memory's output register."""
        return self.depth + 1

    @property
    def count_bits(self) -> int:
        """Width of a pointer: one bit more than a row's number tells full from empty."""
        return clog2(self.depth) + 1

    @property
    def offer_ticks(self) -> int:
        """Ticks of the reading clock after which what was pushed before the first of them is
        offered: two of the synchroniser, one of the memory.
        """
        return 3

    @property
    def space_ticks(self) -> int:
        """Ticks of the writing clock after which a row that was read before the first of them can
        be filled: two of the synchroniser.
        """
        return 2
