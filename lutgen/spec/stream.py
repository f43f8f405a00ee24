"""How the items of a sample travel: beats of some width, regrouped into beats of another."""

from dataclasses import dataclass
from math import gcd

from lutgen.numeric import as_int, ceil_div

__all__ = ["RegrouperSpec"]


@dataclass(frozen=True)
class RegrouperSpec:
    """Turns beats of ``i_items`` into groups of ``o_items``, through parts of their greatest common
    divisor.

    One part moves a cycle. Where one width divides the other, that is as fast as the narrower side;
    otherwise choose widths that do. The last group is filled up with zeros.

    Parameters
    ----------
    items : int
        Items of one sample.
    i_items, o_items : int
        Items of an input beat and of an output group.
    hold : int
        Cycles that the receiver keeps a group for. Where that is more than one, a group that takes
        several parts goes into a register, so that the next is gathered meanwhile.
    """

    items: int
    i_items: int
    o_items: int
    hold: int = 1

    def __post_init__(self) -> None:
        as_int(self.items, "Items of a sample", low=1)
        as_int(self.i_items, "Items of an input beat", low=1)
        as_int(self.o_items, "Items of an output group", low=1)
        as_int(self.hold, "Cycles that a group is kept", low=1)

    @property
    def i_filled(self) -> int:
        """Items of an input beat that are ever used."""
        return min(self.i_items, self.items)

    @property
    def o_filled(self) -> int:
        """Items of an output group that are ever filled."""
        return min(self.o_items, self.items)

    @property
    def part(self) -> int:
        """Items of a part."""
        return gcd(self.i_filled, self.o_filled)

    @property
    def i_parts(self) -> int:
        """Parts of an input beat."""
        return self.i_filled // self.part

    @property
    def o_parts(self) -> int:
        """Parts of an output group."""
        return self.o_filled // self.part

    @property
    def registered(self) -> bool:
        """Whether groups go into a register, which adds a cycle of latency."""
        return self.hold > 1 and self.o_parts > 1

    @property
    def beats(self) -> int:
        """Input beats of a sample."""
        return ceil_div(self.items, self.i_items)

    @property
    def groups(self) -> int:
        """Output groups of a sample."""
        return ceil_div(self.items, self.o_items)

    @property
    def parts(self) -> int:
        """Parts of a sample, and so the cycles that it takes at least."""
        return ceil_div(self.items, self.part)

    @property
    def last_i_parts(self) -> int:
        """Parts of the last input beat."""
        return self.parts - (self.beats - 1) * self.i_parts

    @property
    def last_o_parts(self) -> int:
        """Parts of the last output group."""
        return self.parts - (self.groups - 1) * self.o_parts

    @property
    def last_items(self) -> int:
        """Items of the last output group."""
        return self.items - (self.groups - 1) * self.o_items
