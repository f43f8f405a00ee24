"""The control of a memory of two halves: one is filled while the other is used."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.tree import delay
from lutgen.numeric import as_int

__all__ = ["PingPong"]


class PingPong(wiring.Component):
    """Which half is filled and which is used. They take turns, half 0 first.

    All outputs come from registers. What was filled is offered in the next cycle unless the other
    half is still in use; after a release the next half is offered in the next cycle if it is full.
    A half that is released is free ``drain + 1`` cycles later.

    Parameters
    ----------
    drain : int
        Cycles after a release in which the half may still be read.

    Members
    -------
    space : Out(1)
        The half to be filled next is free: it may be written.
    fill : Out(1)
        Which one that is.
    filled : In(1)
        It is complete, its last write not later than in this cycle; only while ``space``.
    full : Out(1)
        The half to be used next is complete: it may be read.
    use : Out(1)
        Which one that is.
    release : In(1)
        Its last use begins in this cycle; only while ``full``.
    """

    def __init__(self, drain: int = 0):
        self.drain = as_int(drain, "Drain", low=0)
        super().__init__(
            {
                "space": Out(1, init=1),
                "fill": Out(1),
                "filled": In(1),
                "full": Out(1),
                "use": Out(1),
                "release": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        freed = delay(m, None, self.release, self.drain, name="released")
        free, full = (
            Signal(range(3), name="free_halves", init=2),
            Signal(range(3), name="full_halves"),
        )
        free_after, full_after = (
            Signal.like(count, name=f"{count.name}_after") for count in (free, full)
        )
        m.d.comb += [
            free_after.eq(free - self.filled + freed),
            full_after.eq(full + self.filled - self.release),
        ]
        m.d.sync += [
            free.eq(free_after),
            full.eq(full_after),
            self.space.eq(free_after != 0),
            self.full.eq(full_after != 0),
            self.fill.eq(self.fill ^ self.filled),
            self.use.eq(self.use ^ self.release),
        ]
        return m
