"""Counters that are read now and then, a byte at a time."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Counters"]

LOW_BITS, HIGH_BITS = 8, 24


class Counters(wiring.Component):
    """Counters of 32 bits. The lowest byte of each counts as usual. The rest is a ring that turns
    by a bit a cycle past an adder of one bit: 256 events take longer than the 24 cycles of a turn.
    Such a counter has a fifth of the logic of 32 bits in parallel with a way out for each byte.

    To be read, ``counting`` must go low, and after `SETTLING` cycles the lowest byte is ``low``,
    the next ``high``; 8 cycles with ``turn`` high bring up another, and 24 the first again.

    Parameters
    ----------
    count : int

    Members
    -------
    events : In(count)
        Those that counters count in this cycle.
    counting : In(1)
        Low, no events are counted.
    turn : In(1)
        Must be low while ``counting`` is high, and until they have settled.
    low_<k>, high_<k> : Out(8)
    """

    SETTLING = 2 * HIGH_BITS

    def __init__(self, count: int):
        self.count = count
        members = {"events": In(count), "counting": In(1), "turn": In(1)}
        for number in range(count):
            members |= {f"low_{number}": Out(8), f"high_{number}": Out(8)}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        phase, first = Signal(range(HIGH_BITS), name="phase"), Signal(name="first")
        rests, waiting = Signal(name="rests"), Signal(self.count, name="waiting")
        m.d.comb += [
            first.eq(phase == 0),
            rests.eq(first & ~self.counting & (waiting == 0)),
        ]
        with m.If(~rests):
            m.d.sync += phase.eq(Mux(phase == HIGH_BITS - 1, 0, phase + 1))
        for number in range(self.count):
            low, over = Signal(LOW_BITS, name=f"low_{number}"), Signal(name=f"over_{number}")
            ring = Signal(HIGH_BITS, name=f"ring_{number}")
            kept, carry = Signal(name=f"kept_{number}"), Signal(name=f"carry_{number}")
            m.d.comb += [
                carry.eq(Mux(first, waiting[number], kept)),
                getattr(self, f"low_{number}").eq(low),
                getattr(self, f"high_{number}").eq(ring[:8]),
            ]
            # A carry waits for the lowest bit to come by.
            with m.If(first):
                m.d.sync += waiting[number].eq(0)
            with m.If(self.counting & self.events[number]):
                m.d.sync += low.eq(low + 1)
                m.d.comb += over.eq(low == (1 << LOW_BITS) - 1)
            with m.If(over):
                m.d.sync += waiting[number].eq(1)
            with m.If(~rests | self.turn):
                m.d.sync += [ring.eq(Cat(ring[1:], ring[0] ^ carry)), kept.eq(ring[0] & carry)]
        return m
