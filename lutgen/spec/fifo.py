"""The queue between two stages: what a producer may rely on, and what it costs."""

from dataclasses import dataclass

from lutgen.numeric import as_int

__all__ = ["FifoSpec"]

REGISTERS = 4  # entries up to which flip-flops are smaller than a memory and its control


@dataclass(frozen=True)
class FifoSpec:
    """A queue whose entries are reserved before they are filled.

    The producer's pipelines never stop: it reserves an entry when it begins the work that will fill
    it, and begins only while there is space. An entry that is pushed in one cycle can be popped in
    the next; one that is popped in one cycle can be reserved anew in the next.

    Parameters
    ----------
    width : int
        Bits of an entry.
    depth : int
        Entries, those that are reserved and not yet filled included.
    """

    width: int
    depth: int

    def __post_init__(self) -> None:
        as_int(self.width, "Width of a queue", low=1)
        as_int(self.depth, "Depth of a queue", low=1)

    @property
    def in_memory(self) -> bool:
        """Whether entries are kept in a memory, not in registers."""
        return self.depth > REGISTERS

    @property
    def memory_rows(self) -> int:
        """Rows of that memory: two more entries stand in its output register and behind it."""
        return self.depth - 1 if self.in_memory else 0

    @property
    def bits(self) -> int:
        """Bits of all entries."""
        return self.width * self.depth
