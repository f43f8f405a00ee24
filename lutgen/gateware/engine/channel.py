"""One input stream of the engine: a packet a job, checked for its length."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Channel", "packet_layout"]


def packet_layout(bits: int) -> data.StructLayout:
    """A beat of a packet."""
    return data.StructLayout({"data": bits, "last": 1})


class Channel(wiring.Component):
    """Passes the beats of a job's packet on; where its end is not where it should be, what is left
    of it is swallowed.

    Parameters
    ----------
    bits : int
        Width of a beat.

    Members
    -------
    i : In(stream)
        Payload `packet_layout`.
    active : In(1)
        A job is under way that has a packet here. While it is low, nothing is taken and nothing is
        remembered.
    stop : In(1)
        The job has failed: nothing is passed on any more.
    final : In(1)
        The beat on offer is the job's last.
    o : Out(stream)
    finished : Out(1)
        The end of the packet has been taken.
    short, long : Out(1)
        ``last`` came before the final beat, or not with it; until ``active`` falls.
    """

    def __init__(self, bits: int):
        self.bits = bits
        super().__init__(
            {
                "i": In(stream.Signature(packet_layout(bits))),
                "active": In(1),
                "stop": In(1),
                "final": In(1),
                "o": Out(stream.Signature(bits)),
                "finished": Out(1),
                "short": Out(1),
                "long": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        passes, swallows = Signal(name="passes"), Signal(name="swallows")
        last = self.i.p.last
        m.d.comb += [
            passes.eq(self.active & ~self.finished & ~self.long & ~self.stop),
            swallows.eq(self.active & ~self.finished & (self.long | self.stop)),
            self.o.valid.eq(self.i.valid & passes),
            self.o.p.eq(self.i.p.data),
            self.i.ready.eq((passes & self.o.ready) | swallows),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += self.finished.eq(last)
            with m.If(passes):
                m.d.sync += [self.short.eq(last & ~self.final), self.long.eq(self.final & ~last)]
        with m.If(~self.active):
            m.d.sync += [self.finished.eq(0), self.short.eq(0), self.long.eq(0)]
        return m
