"""The index buffer: a ring whose rows are read again for every tile until they are set free."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.memory import Buffer
from lutgen.gateware.tree import position_bits
from lutgen.spec.engine import EngineSpec

__all__ = ["IndexRing"]


class IndexRing(wiring.Component):
    """Rows of indices, kept in order.

    Parameters
    ----------
    spec : EngineSpec

    Members
    -------
    i : In(stream)
    there : Out(1)
        A row is there to be read; from a register.
    read : In(1)
        The next row is, only while ``there``.
    frees : In(1)
        Rows that are read are free at once.
    rewinds : In(1)
        With the last ``read`` of a tile whose rows are not set free: the next is its first again.
    o : Out
        The row, in the cycle after ``read``.
    stuck : Out(1)
        Nothing is there, nothing has space, and what is there has all been read: a block's indices
        do not fit.
    """

    def __init__(self, spec: EngineSpec):
        self.spec = spec
        row = data.ArrayLayout(spec.code_bits, spec.fan_in)
        super().__init__(
            {
                "i": In(stream.Signature(row)),
                "there": Out(1),
                "read": In(1),
                "frees": In(1),
                "rewinds": In(1),
                "o": Out(row),
                "stuck": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        depth = self.spec.index_depth
        m.submodules.memory = memory = Buffer(depth, len(self.o.as_value()))
        write_row, read_row, first_row = (
            Signal(position_bits(depth), name=f"{what}_row") for what in ("write", "read", "first")
        )
        # Rows that are held, those still to be read in this tile, and those read in it.
        held, unread, done = (
            Signal(range(depth + 1), name=what) for what in ("held", "unread", "done")
        )
        left, after = Signal.like(unread, name="left"), Signal(position_bits(depth), name="after")
        writes, frees, full = Signal(name="writes"), Signal(name="frees_row"), Signal(name="full")
        m.d.comb += [
            full.eq(held == depth),
            self.i.ready.eq(~full),
            writes.eq(self.i.valid & ~full),
            frees.eq(self.read & self.frees),
            left.eq(unread + writes - self.read + Mux(self.rewinds, done + 1, 0)),
            after.eq(Mux(read_row == depth - 1, 0, read_row + 1)),
            self.stuck.eq(full & ~self.there & ~self.frees),
        ]
        m.d.sync += [
            held.eq(held + writes - frees),
            unread.eq(left),
            self.there.eq(left != 0),
        ]
        with m.If(writes):
            m.d.sync += write_row.eq(Mux(write_row == depth - 1, 0, write_row + 1))
        with m.If(self.read):
            m.d.sync += [
                read_row.eq(Mux(self.rewinds, first_row, after)),
                done.eq(Mux(self.rewinds | self.frees, 0, done + 1)),
            ]
            with m.If(self.frees):
                m.d.sync += first_row.eq(after)
        m.d.comb += [
            memory.load.en.eq(writes),
            memory.load.addr.eq(write_row),
            memory.load.data.eq(self.i.p.as_value()),
            memory.en.eq(self.read),
            memory.addr.eq(read_row),
            self.o.as_value().eq(memory.data),
        ]
        return m
