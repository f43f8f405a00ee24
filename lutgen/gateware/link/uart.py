"""A UART: 8 bits, no parity, one stop bit."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from lutgen.spec.link import Uart

__all__ = ["Receiver", "Transmitter"]

BITS = 10  # of a byte on the line


class Receiver(wiring.Component):
    """Bytes from a line.

    The line is synchronised, and of every three cycles the majority counts. A start bit must still
    be there in its middle. A byte is told in the middle of its stop bit, so that the next may come
    early; one without a stop bit is none, and the line must rise before the next.

    Parameters
    ----------
    uart : Uart

    Members
    -------
    rx : In(1)
    data : Out(8)
    valid : Out(1)
        A byte has come: high for one cycle.
    broken : Out(1)
        One without a stop bit: high for one cycle.
    """

    def __init__(self, uart: Uart):
        self.uart = uart
        super().__init__({"rx": In(1), "data": Out(8), "valid": Out(1), "broken": Out(1)})

    def elaborate(self, platform):
        m = Module()
        uart = self.uart
        seen = Signal(3, init=7, name="seen")
        line, before = Signal(init=1, name="line"), Signal(init=1, name="line_before")
        m.submodules.sync = FFSynchronizer(self.rx, seen[0], init=1)
        two = (seen[0] & seen[1]) | (seen[1] & seen[2]) | (seen[0] & seen[2])
        m.d.sync += [seen[1:].eq(seen[:2]), line.eq(two), before.eq(line)]

        within, tick = Signal(name="within"), Signal(name="tick")
        phase, left = Signal(uart.bits, name="phase"), Signal(range(BITS), name="bits_left")
        m.d.comb += self.data.eq(self._shift(m, line, within & tick & (left != 0)))
        with m.If(within):
            m.d.sync += Cat(phase, tick).eq(phase + uart.step)
            with m.If(tick):
                m.d.sync += left.eq(left - 1)
                with m.If((left == 0) | ((left == BITS - 1) & line)):
                    m.d.sync += [within.eq(0), tick.eq(0)]
                with m.If(left == 0):
                    m.d.comb += [self.valid.eq(line), self.broken.eq(~line)]
        with m.Elif(before & ~line):
            # Half a bit from the edge, which was half a cycle before it was seen; ticks round up by
            # another half, and come a cycle after the phase has wrapped.
            start = (1 << uart.bits - 1) + 2 * uart.step
            m.d.sync += [
                within.eq(1),
                Cat(phase, tick).eq(start),
                left.eq(BITS - 1),
            ]
        return m

    def _shift(self, m, line, en):
        data = Signal(8, name="shifted", reset_less=True)
        with m.If(en):
            m.d.sync += data.eq(Cat(data[1:], line))
        return data


class Transmitter(wiring.Component):
    """Bytes onto a line.

    Parameters
    ----------
    uart : Uart

    Members
    -------
    i : In(stream)
        Bytes; taken when a bit ends and the line rests.
    tx : Out(1)
    """

    def __init__(self, uart: Uart):
        self.uart = uart
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        uart = self.uart
        # Runs for ever: a counter that is set to something takes its carry chain apart.
        phase, tick = Signal(uart.bits, name="phase"), Signal(name="tick")
        m.d.sync += Cat(phase, tick).eq(phase + uart.step)
        # The line is the lowest bit; ones follow, the last of them the stop bit.
        bits = Signal(BITS, init=(1 << BITS) - 1, name="line_bits")
        left = Signal(range(BITS), name="bits_left")
        m.d.comb += [self.tx.eq(bits[0]), self.i.ready.eq(tick & (left == 0))]
        with m.If(tick):
            m.d.sync += [bits.eq(Cat(bits[1:], 1)), left.eq(Mux(left == 0, 0, left - 1))]
            with m.If((left == 0) & self.i.valid):
                m.d.sync += [bits.eq(Cat(0, self.i.payload, 1)), left.eq(BITS - 1)]
        return m
