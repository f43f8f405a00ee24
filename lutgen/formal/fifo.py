"""The queue: nothing lost, nothing twice, in order, and space that never lies."""

from amaranth.hdl import Assert, Assume, Mux, Signal
from amaranth.lib import data

from lutgen.formal.harness import Inside, Marked, Proof, implies, stalls
from lutgen.gateware.fifo import Fifo
from lutgen.spec.fifo import FifoSpec

__all__ = ["FifoProof"]


class FifoProof(Proof):
    """A producer that reserves only while there is space and fills what it reserved, at any time;
    a consumer that takes when it likes.

    Parameters
    ----------
    spec : FifoSpec
    part : type
        `Fifo`, or one with a mistake in it.
    """

    def __init__(self, spec: FifoSpec, part: type = Fifo):
        self.spec = spec
        self.part = part
        super().__init__({"reserve": 1, "push": 1, "p": spec.width, "ready": 1, "mark": 1})

    def build(self, m):
        depth = self.spec.depth
        fifo = self.part(self.spec, data.ArrayLayout(1, self.spec.width))
        inside = Inside(m, fifo)
        pop = Signal()
        m.d.comb += [
            fifo.i.reserve.eq(self.reserve),
            fifo.i.valid.eq(self.push),
            fifo.i.p.as_value().eq(self.p),
            fifo.o.ready.eq(self.ready),
            pop.eq(fifo.o.valid & self.ready),
        ]
        pending = Signal(range(depth + 1))  # reserved and not filled
        m.d.sync += pending.eq(pending + self.reserve - self.push)
        m.d.comb += [
            Assume(implies(self.reserve, fifo.i.space)),
            Assume(implies(self.push, self.reserve | (pending != 0))),
        ]
        queue = Marked(
            m, depth, push=self.push, mark=self.mark, pop=pop, i=self.p, o=fifo.o.p.as_value()
        )
        stalls(m, fifo.o, name="o")
        taken = Signal(range(2 * depth + 1))
        m.d.comb += [
            taken.eq(pending + queue.level),
            Assert(taken <= depth),
            # Exact in both directions: never a place that is not there, and none withheld.
            Assert(fifo.i.space == (taken != depth)),
            # Progress: the oldest entry is always on offer, so what is pushed comes out after as
            # many cycles of `ready` as there are entries before it, and one.
            Assert(fifo.o.valid == (queue.level != 0)),
            Assert(inside("taken") == taken),
        ]
        if self.spec.in_memory:
            self._memory(m, inside, queue)
        else:
            self._registers(m, inside, queue)

    def _registers(self, m, inside, queue):
        m.d.comb += Assert(inside("level") == queue.level)
        for k in range(self.spec.depth):
            here = queue.there & (queue.ahead == k)
            m.d.comb += Assert(implies(here, inside(f"entry_{k}") == queue.value))

    def _memory(self, m, inside, queue):
        rows = self.spec.memory_rows
        first, read, count = inside("first_holds"), inside("read_holds"), inside("stored")
        read_row, write_row = inside("read_row"), inside("write_row")
        cells = inside.rows("memory")
        front = Signal(range(3))
        behind = Signal(range(2 * rows))
        m.d.comb += [
            front.eq(first + read),
            Assert(queue.level == front + count),
            Assert(implies(count != 0, front != 0)),
            Assert((read_row < rows) & (write_row < rows) & (count <= rows)),
            # Where the marked entry stands.
            behind.eq(read_row + count),
            Assert(write_row == self._around(behind)),
            Assert(
                implies(queue.there & first & (queue.ahead == 0), inside("first") == queue.value)
            ),
            Assert(
                implies(
                    queue.there & read & (queue.ahead == first),
                    inside("data", "memory", "memory") == queue.value,
                )
            ),
        ]
        place = Signal(range(2 * rows))
        m.d.comb += [
            place.eq(read_row + queue.ahead - front),
            Assert(
                implies(
                    queue.there & (queue.ahead >= front),
                    cells[self._around(place)] == queue.value,
                )
            ),
        ]

    def _around(self, place):
        rows = self.spec.memory_rows
        return Mux(place >= rows, place - rows, place)
