"""From one clock to another.

A level crosses through `amaranth.lib.cdc.FFSynchronizer`. A clock that has no reset pin of its own
gets its reset from the other one's through `amaranth.lib.cdc.ResetSynchronizer`: it begins at once,
whether the clock ticks or not, so that none is too short, and ends in step with the clock. Its
source must be free of glitches: a pin or a register. Entries cross in an `AsyncFifo`.
"""

from amaranth.hdl import Module, ResetSignal, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import AsyncFFSynchronizer, FFSynchronizer
from amaranth.lib.wiring import In, Out

from lutgen.gateware.memory import Buffer
from lutgen.spec.crossing import CrossingSpec

__all__ = ["AsyncFifo"]


class AsyncFifo(wiring.Component):
    """A queue between two clocks of any rates; see `CrossingSpec`.

    Either side knows where the other one stands from a pointer in Gray code, sampled by two
    flip-flops. As a tick changes one bit of it at most, a sample in the middle of a change is the
    pointer before or after: it may be late, never wrong. For that, the bits of a pointer must reach
    the first flip-flops within one period of the clock that they come from, which is a constraint
    for place and route.

    ``i.ready`` and ``o.valid`` hang on registers alone.

    The reset of either domain empties the queue, and until two ticks after it the other side stands
    still. It must last until both clocks have ticked; that is so for any reset of one domain that
    a `ResetSynchronizer` hands on to the other. Without one, registers' initial values will do. An
    inserted reset of one side alone is an error.

    Parameters
    ----------
    spec : CrossingSpec
    shape : ShapeLike
        Of an entry, ``spec.width`` bits.
    write, read : str
        Clock domains of the sides.

    Members
    -------
    i : In(stream)
        In domain ``write``.
    o : Out(stream)
        In domain ``read``.
    passed : Out(1)
        In domain ``write``: all that was pushed has left the memory, the last of it perhaps for
        ``o``. It may come late, never early.
    """

    def __init__(self, spec: CrossingSpec, shape, *, write: str, read: str):
        if write == read:
            raise ValueError(f"A crossing must be between two domains, not from {write!r} to it")
        self.spec = spec
        self.write = write
        self.read = read
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "passed": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec, write, read = self.spec, self.write, self.read
        m.submodules.memory = memory = Buffer(
            spec.depth, spec.width, load_domain=write, domain=read
        )
        push, fetch, holds = Signal(name="push"), Signal(name="fetch"), Signal(name="holds")
        write_held, read_held = self._held(m, read, write), self._held(m, write, read)
        write_row, written = self._pointer(m, write, push, write_held, name="write")
        read_row, fetched = self._pointer(m, read, fetch, read_held, name="read")
        # What the other side knows of them.
        written_seen, fetched_seen = (
            Signal.like(pointer, name=f"{name}_seen")
            for pointer, name in ((written, "written"), (fetched, "fetched"))
        )
        m.submodules.to_read = FFSynchronizer(written, written_seen, o_domain=read)
        m.submodules.to_write = FFSynchronizer(fetched, fetched_seen, o_domain=write)
        # In Gray code, the upper two bits are what tells pointers apart that lie a depth apart.
        apart = 3 << spec.count_bits - 2
        m.d.comb += [
            self.i.ready.eq((written != fetched_seen ^ apart) & ~write_held),
            self.passed.eq((written == fetched_seen) & ~write_held),
            push.eq(self.i.valid & self.i.ready),
            memory.load.en.eq(push),
            memory.load.addr.eq(write_row),
            memory.load.data.eq(Value.cast(self.i.p)),
            # The memory's output register is the last place, and holds while it is not read.
            fetch.eq((fetched != written_seen) & (~holds | self.o.ready) & ~read_held),
            memory.en.eq(fetch),
            memory.addr.eq(read_row),
            self.o.valid.eq(holds),
            Value.cast(self.o.p).eq(memory.data),
        ]
        m.d[read] += holds.eq((fetch | (holds & ~self.o.ready)) & ~read_held)
        return m

    def _held(self, m, source: str, domain: str):
        """Whether ``domain`` stands still because ``source`` is, or just was, in reset."""
        held = Signal(name=f"{domain}_held")
        m.submodules[f"hold_{domain}"] = AsyncFFSynchronizer(
            ResetSignal(source, allow_reset_less=True), held, o_domain=domain
        )
        return held

    def _pointer(self, m, domain: str, moves, held, *, name: str):
        """The row that is next, and the pointer to it as the other side may see it."""
        bits = self.spec.count_bits
        count, gray, after = (
            Signal(bits, name=f"{name}_{what}") for what in ("count", "gray", "after")
        )
        m.d.comb += after.eq(count + moves)
        m.d[domain] += [count.eq(after), gray.eq(self._code(after))]
        with m.If(held):
            m.d[domain] += [count.eq(0), gray.eq(0)]
        return count[:-1], gray

    def _code(self, count):
        """Gray code of a pointer."""
        return count ^ (count >> 1)
