"""The queue between two stages, with entries that are reserved before they are filled."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.memory import Buffer
from lutgen.gateware.tree import position_bits
from lutgen.spec.fifo import FifoSpec

__all__ = ["Fifo", "Pushes"]


class Pushes(wiring.Signature):
    """A producer's side of the queues that it fills.

    Parameters
    ----------
    shape : ShapeLike
        Of an entry.

    Members
    -------
    space : In(1)
        An entry may be reserved in this cycle.
    reserve : Out(1)
        One is; only ever high together with ``space``.
    valid : Out(1)
        One that was reserved, in this cycle or before, is filled.
    p : Out(shape)
    """

    def __init__(self, shape):
        self.shape = shape
        super().__init__({"space": In(1), "reserve": Out(1), "valid": Out(1), "p": Out(shape)})


class Fifo(wiring.Component):
    """See `FifoSpec`. What is pushed in one cycle is offered in the next, and ``i.space`` comes
    from a register.

    Few entries are a row of registers, the oldest first. Many are a memory behind two places, its
    output register and one more that what is pushed into an empty queue goes to straight.

    Parameters
    ----------
    spec : FifoSpec
    shape : ShapeLike
        Of an entry, ``spec.width`` bits.

    Members
    -------
    i : In(Pushes)
    o : Out(stream)
    """

    def __init__(self, spec: FifoSpec, shape):
        self.spec = spec
        super().__init__({"i": In(Pushes(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        pop = Signal(name="pop")
        m.d.comb += pop.eq(self.o.valid & self.o.ready)
        self._account(m, pop)
        if spec.in_memory:
            self._memory(m, pop)
        else:
            self._registers(m, pop)
        return m

    def _account(self, m, pop):
        """Entries that are free: counted where they are reserved and where they are popped."""
        taken = Signal(range(self.spec.depth + 1), name="taken")
        after = Signal.like(taken, name="taken_after")
        full = Signal(name="full")
        m.d.comb += [
            after.eq(taken + self.i.reserve - pop),
            self.i.space.eq(~full),
        ]
        m.d.sync += [taken.eq(after), full.eq(after == self.spec.depth)]

    def _registers(self, m, pop):
        depth = self.spec.depth
        level = Signal(range(depth + 1), name="level")
        m.d.sync += level.eq(level + self.i.valid - pop)
        held = [Signal.like(self.i.p, name=f"entry_{k}", reset_less=True) for k in range(depth)]
        for k, entry in enumerate(held):
            behind = held[k + 1] if k + 1 < depth else self.i.p
            # What comes in goes behind the last entry that stays.
            arrives = Signal(name=f"arrives_{k}")
            m.d.comb += arrives.eq(self.i.valid & (level == Mux(pop, k + 1, k)))
            with m.If(arrives):
                m.d.sync += entry.eq(self.i.p)
            with m.Elif(pop):
                m.d.sync += entry.eq(behind)
        m.d.comb += [self.o.valid.eq(level != 0), self.o.p.eq(held[0])]

    def _memory(self, m, pop):
        rows = self.spec.memory_rows
        m.submodules.memory = memory = Buffer(rows, len(self.i.p.as_value()))
        count = Signal(range(rows + 1), name="stored")  # rows that were written and not yet read
        first, read = Signal(name="first_holds"), Signal(name="read_holds")
        entry = Signal.like(self.i.p, name="first", reset_less=True)
        store, fetch, direct = Signal(name="store"), Signal(name="fetch"), Signal(name="direct")
        # The first place is the older one wherever it holds something.
        leaves_read = Signal(name="read_leaves")
        m.d.comb += [
            self.o.valid.eq(first | read),
            self.o.p.as_value().eq(Mux(first, entry.as_value(), memory.data)),
            leaves_read.eq(pop & ~first),
            direct.eq(self.i.valid & (count == 0) & (~(first | read) | (pop & ~(first & read)))),
            store.eq(self.i.valid & ~direct),
            fetch.eq((count != 0) & (~read | leaves_read)),
        ]
        m.d.sync += [
            count.eq(count + store - fetch),
            first.eq(direct | (first & ~pop)),
            read.eq(fetch | (read & ~leaves_read)),
        ]
        with m.If(direct):
            m.d.sync += entry.eq(self.i.p)
        write_row, read_row = (
            Signal(position_bits(rows), name=f"{what}_row") for what in ("write", "read")
        )
        for moves, row in ((store, write_row), (fetch, read_row)):
            with m.If(moves):
                m.d.sync += row.eq(Mux(row == rows - 1, 0, row + 1))
        m.d.comb += [
            memory.load.en.eq(store),
            memory.load.addr.eq(write_row),
            memory.load.data.eq(self.i.p.as_value()),
            memory.en.eq(fetch),
            memory.addr.eq(read_row),
        ]
