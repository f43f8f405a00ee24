"""The queue between two clocks: nothing lost, nothing twice, in order, whatever the clocks do."""

from types import SimpleNamespace

from amaranth.hdl import Assert, DomainRenamer, EnableInserter, Module, Mux, Signal

from lutgen.formal.harness import Inside, Marked, Proof, Rows, implies, stalls
from lutgen.gateware.crossing import AsyncFifo
from lutgen.spec.crossing import CrossingSpec

__all__ = ["CrossingProof"]


class Clocks(Rows):
    """Stands for a platform: synchronisers whose first flip-flop settles to anything it may.

    A bit that changes in the tick in which it is sampled is taken as it was before or after, each
    bit for itself. No domain is ever in reset.

    Parameters
    ----------
    ticks, choices : dict of Signal
        By domain: whether it ticks, and for each bit whether the later value is taken.
    """

    def __init__(self, ticks, choices):
        self._ticks = ticks
        self._choices = choices

    def get_ff_sync(self, sync):
        """See `amaranth.lib.cdc.FFSynchronizer`."""
        m = Module()
        tick, choice = self._ticks[sync._o_domain], self._choices[sync._o_domain]
        first, second = (Signal.like(sync.i, name=f"stage_{k}") for k in range(2))
        settling, settled = Signal(name="settling"), Signal.like(sync.i, name="settled")
        m.d.comb += [
            # In the cycle after a tick, the input is what it became in that tick.
            settled.eq(Mux(settling, (sync.i & choice) | (first & ~choice), first)),
            sync.o.eq(second),
        ]
        m.d.sync += [
            settling.eq(tick),
            first.eq(Mux(tick, sync.i, settled)),
            second.eq(Mux(tick, settled, second)),
        ]
        return m

    def get_async_ff_sync(self, sync):
        """See `amaranth.lib.cdc.AsyncFFSynchronizer`."""
        m = Module()
        m.d.comb += sync.o.eq(0)
        return m


class CrossingProof(Proof):
    """A producer that pushes and a consumer that takes when they like, on clocks that tick when
    they like.

    Both clocks are enables of the proof's own, free in every cycle: every order of their ticks,
    those at the same time too, is among them. Where they are, each bit of a pointer that changes is
    sampled as it was or as it is (`Clocks`); it is proven that a tick changes one bit at most, and
    that this is all it takes.

    Parameters
    ----------
    spec : CrossingSpec
    part : type
        `AsyncFifo`, or one with a mistake in it.
    **more
        Inputs of proofs that build on this one.
    """

    def __init__(self, spec: CrossingSpec, part: type = AsyncFifo, **more):
        self.spec = spec
        self.part = part
        bits = spec.count_bits
        members = {"write_tick": 1, "read_tick": 1, "write_choice": bits, "read_choice": bits}
        super().__init__({**members, "push": 1, "p": spec.width, "ready": 1, "mark": 1, **more})

    def build(self, m):
        self.queue(m)

    def queue(self, m):
        """Adds the queue and what is proven of it; gives it, and a look inside."""
        fifo = self.part(self.spec, self.spec.width, write="write", read="read")
        ticks = {"write": self.write_tick, "read": self.read_tick}
        choices = {"write": self.write_choice, "read": self.read_choice}
        one_clock = DomainRenamer({"write": "sync", "read": "sync"})(EnableInserter(ticks)(fifo))
        inside = Inside(m, one_clock, Clocks(ticks, choices))
        pushed, taken = Signal(), Signal()
        willing = SimpleNamespace(valid=fifo.o.valid, ready=Signal(), p=fifo.o.p)
        m.d.comb += [
            fifo.i.valid.eq(self.push),
            fifo.i.p.eq(self.p),
            fifo.o.ready.eq(self.ready),
            pushed.eq(self.push & fifo.i.ready & self.write_tick),
            willing.ready.eq(self.ready & self.read_tick),
            taken.eq(fifo.o.valid & willing.ready),
        ]
        queue = Marked(
            m, self.spec.entries, push=pushed, mark=self.mark, pop=taken, i=self.p, o=fifo.o.p
        )
        stalls(m, willing, name="o")
        self._pointers(m, inside, fifo, queue)
        self._gray(m, inside)
        self._contents(m, inside, fifo, queue)
        return fifo, inside

    def _pointers(self, m, inside, fifo, queue):
        """Each side is at most behind with what it knows of the other, and not for long."""
        spec = self.spec
        write, read = inside("write_count"), inside("read_count")
        first, second = (self._count(m, inside(f"stage_{k}", "to_read")) for k in range(2))
        ahead = [self._difference(m, count, read) for count in (second, first, write)]
        m.d.comb += [Assert(a <= b) for a, b in zip(ahead, [*ahead[1:], spec.depth], strict=True)]
        stored = ahead[-1]
        back, front = (self._count(m, inside(f"stage_{k}", "to_write")) for k in (1, 0))
        behind = [self._difference(m, write, count) for count in (read, front, back)]
        m.d.comb += [
            *(Assert(a <= b) for a, b in zip(behind, [*behind[1:], spec.depth], strict=True)),
            Assert(queue.level == stored + fifo.o.valid),
        ]
        # What is sampled in a tick is what the pointer was before it.
        for name, newer, older in (("to_read", write, first), ("to_write", read, front)):
            step = self._difference(m, newer, older)
            m.d.comb += Assert(implies(inside("settling", name), step <= 1))
        # Progress: ticks for which a side has waited although there is something for it.
        waits = self._waits(m, self.read_tick, (queue.level != 0) & ~fifo.o.valid)
        m.d.comb += [
            Assert(waits < spec.offer_ticks),
            Assert(implies(waits == 1, ahead[1] != 0)),
            Assert(implies(waits == 2, ahead[0] != 0)),
        ]
        waits = self._waits(m, self.write_tick, (stored != spec.depth) & ~fifo.i.ready)
        m.d.comb += [
            Assert(waits < spec.space_ticks),
            Assert(implies(waits == 1, behind[1] != spec.depth)),
        ]
        # What has passed is never said too early, and not late.
        waits = self._waits(m, self.write_tick, (stored == 0) & ~fifo.passed)
        m.d.comb += [
            Assert(implies(fifo.passed, stored == 0)),
            Assert(waits < spec.space_ticks),
            Assert(implies(waits == 1, behind[1] == 0)),
        ]

    def _waits(self, m, tick, wanting):
        """Ticks that found a side wanting, in a row; 0 as soon as it wants no more."""
        before, waits = Signal(3), Signal(3)
        m.d.comb += waits.eq(Mux(wanting, before, 0))
        m.d.sync += before.eq(waits + (wanting & tick))
        return waits

    def _gray(self, m, inside):
        """A pointer changes in one bit at most, so that a sample in between is one or the other."""
        for name in ("write", "read"):
            count, gray = inside(f"{name}_count"), inside(f"{name}_gray")
            before, change = Signal.like(gray), Signal.like(gray)
            m.d.sync += before.eq(gray)
            m.d.comb += [
                change.eq(gray ^ before),
                Assert((change & (change - 1)) == 0),
                Assert(gray == count ^ (count >> 1)),
            ]

    def _contents(self, m, inside, fifo, queue):
        """Where the marked entry stands."""
        rows = inside.rows("memory")
        held, there = fifo.o.valid, queue.there
        place = Signal(range(self.spec.depth))
        m.d.comb += [
            place.eq(inside("read_count") + queue.ahead - held),
            Assert(implies(there & held & (queue.ahead == 0), fifo.o.p == queue.value)),
            Assert(implies(there & (queue.ahead >= held), rows[place] == queue.value)),
        ]

    def _count(self, m, gray):
        """What a Gray code stands for."""
        count = Signal.like(gray)
        m.d.comb += [bit.eq(gray[k:].xor()) for k, bit in enumerate(count)]
        return count

    def _difference(self, m, high, low):
        """Of two pointers, around the ring."""
        difference = Signal(self.spec.count_bits)
        m.d.comb += difference.eq(high - low)
        return difference
