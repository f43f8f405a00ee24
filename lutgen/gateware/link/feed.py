"""Between the link's bytes and the core's streams."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.link.pick import pick
from lutgen.gateware.memory import Buffer
from lutgen.gateware.tree import position_bits
from lutgen.spec.link import LinkSpec
from lutgen.spec.link_frames import LOAD_WORD_BYTES, TAKEN_BITS

__all__ = ["Collector", "Feeder", "result_layout"]


def result_layout():
    """A byte of a result; ``last`` marks its last."""
    return data.StructLayout({"data": 8, "last": 1})


class Feeder(wiring.Component):
    """Bytes of the buffer into beats of the core's inputs. A beat of n bytes takes n + 2 cycles. A
    sample begins when all of it is in the buffer, if the buffer is large enough for that.

    Parameters
    ----------
    spec : LinkSpec

    Members
    -------
    expected : In(16)
        The offset behind the last byte that is in the buffer, as many bits of it.
    tables : In(1)
        The bytes are a load image.
    read_en, read_addr, read_data
        To the buffer.
    taken : Out(16)
        The offset of the next byte.
    o : Out(stream)
        Samples; payload ``data`` and ``last``.
    o_load : Out(stream)
        Images, likewise; never valid for a core that takes none.
    within : Out(1)
        A sample has begun and not ended.
    idle : Out(1)
        Nothing is there to be fed, and nothing is half fed.
    """

    def __init__(self, spec: LinkSpec):
        self.spec = spec
        self.addr_bits = (spec.buffer - 1).bit_length()
        beat = data.StructLayout({"data": 8 * spec.input_beat_bytes, "last": 1})
        word = data.StructLayout({"data": 8 * LOAD_WORD_BYTES, "last": 1})
        super().__init__(
            {
                "expected": In(TAKEN_BITS),
                "tables": In(1),
                "read_en": Out(1),
                "read_addr": Out(self.addr_bits),
                "read_data": In(8),
                "taken": Out(TAKEN_BITS),
                "o": Out(stream.Signature(beat)),
                "o_load": Out(stream.Signature(word)),
                "within": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec, bits = self.spec, self.addr_bits
        loads = spec.load_words > 0
        tables = self.tables if loads else Const(0)

        def either(image: int, sample: int):
            return Mux(tables, image, sample) if loads and image != sample else Const(sample)

        widest = max(spec.input_beat_bytes, LOAD_WORD_BYTES if loads else 0)
        lane = Signal(position_bits(widest), name="lane")
        beat = Signal(position_bits(max(spec.input_beats, spec.load_words)), name="beat")
        gathered = Signal(8 * widest, name="gathered", reset_less=True)
        level, enough = Signal(bits + 1, name="level"), Signal(name="enough")
        begun, valid = Signal(name="begun"), Signal(name="gathered_all")
        arrives, closing, last_lane = (
            Signal(name="arrives"),
            Signal(name="closing"),
            Signal(name="last_lane"),
        )
        taken, last = Signal(name="beat_taken"), Signal(name="last_beat")
        m.d.comb += [
            level.eq(self.expected[: bits + 1] - self.taken[: bits + 1]),
            # An image may be of any length; a sample that fits goes to the core in one run.
            enough.eq(
                Mux(begun | tables, level != 0, level >= spec.sample_bytes)
                if spec.whole
                else level != 0
            ),
            last_lane.eq(lane == either(LOAD_WORD_BYTES - 1, spec.input_beat_bytes - 1)),
            self.read_en.eq(enough & ~valid & ~closing),
            self.read_addr.eq(self.taken[:bits]),
            last.eq(beat == either(spec.load_words - 1, spec.input_beats - 1)),
            self.o.valid.eq(valid & ~tables),
            self.o.p.data.eq(gathered[-8 * spec.input_beat_bytes :]),
            self.o.p.last.eq(last),
            self.o_load.valid.eq(valid & tables),
            self.o_load.p.data.eq(gathered[-8 * LOAD_WORD_BYTES :]),
            self.o_load.p.last.eq(last),
            taken.eq(valid & Mux(tables, self.o_load.ready, self.o.ready)),
            self.within.eq(begun & ~tables),
            self.idle.eq(~begun & (level == 0)),
        ]
        m.d.sync += [arrives.eq(self.read_en), closing.eq(self.read_en & last_lane)]
        with m.If(self.read_en):
            m.d.sync += [
                self.taken.eq(self.taken + 1),
                lane.eq(Mux(last_lane, 0, lane + 1)),
                begun.eq(1),
            ]
        with m.If(arrives):
            m.d.sync += gathered.eq(Cat(gathered[8:], self.read_data))
        with m.If(closing):
            m.d.sync += valid.eq(1)
        with m.If(taken):
            m.d.sync += [valid.eq(0), beat.eq(Mux(last, 0, beat + 1))]
            with m.If(last):
                m.d.sync += begun.eq(0)
        return m


class Collector(wiring.Component):
    """Beats of the core's output into bytes, which wait in a queue. A beat of n bytes takes n
    cycles.

    Parameters
    ----------
    spec : LinkSpec

    Members
    -------
    i : In(stream)
        Payload ``data`` and ``last``.
    o : Out(stream)
        Payload `result_layout`.
    """

    def __init__(self, spec: LinkSpec):
        self.spec = spec
        beat = data.StructLayout({"data": 8 * spec.output_beat_bytes, "last": 1})
        super().__init__(
            {"i": In(stream.Signature(beat)), "o": Out(stream.Signature(result_layout()))}
        )

    def elaborate(self, platform):
        m = Module()
        size = self.spec.output_beat_bytes
        lane, last_lane = Signal(position_bits(size), name="lane"), Signal(name="last_lane")
        moves, entry = Signal(name="moves"), Signal(result_layout(), name="entry")
        space = self._queue(m, entry, moves)
        m.d.comb += [
            last_lane.eq(lane == size - 1),
            moves.eq(self.i.valid & space),
            entry.data.eq(pick([self.i.p.data.word_select(n, 8) for n in range(size)], lane)),
            entry.last.eq(self.i.p.last & last_lane),
            self.i.ready.eq(space & last_lane),
        ]
        with m.If(moves):
            m.d.sync += lane.eq(Mux(last_lane, 0, lane + 1))
        return m

    def _queue(self, m, entry, push):
        """A queue in a memory; gives whether there is space. An entry comes out two cycles after it
        went in, and another every two cycles: the line is far slower.
        """
        rows = self.spec.results
        bits = (rows - 1).bit_length()
        m.submodules.queue = memory = Buffer(rows, len(entry.as_value()))
        # A bit more than an address: full and empty differ in it.
        head, tail = Signal(bits + 1, name="head"), Signal(bits + 1, name="tail")
        fetch, space = Signal(name="fetch"), Signal(name="space")
        m.d.comb += [
            space.eq(head ^ tail != 1 << bits),
            fetch.eq((head != tail) & ~self.o.valid),
            memory.load.en.eq(push),
            memory.load.addr.eq(head[:bits]),
            memory.load.data.eq(entry),
            memory.en.eq(fetch),
            memory.addr.eq(tail[:bits]),
            self.o.p.as_value().eq(memory.data),
        ]
        with m.If(push):
            m.d.sync += head.eq(head + 1)
        with m.If(fetch):
            m.d.sync += [tail.eq(tail + 1), self.o.valid.eq(1)]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        return space
