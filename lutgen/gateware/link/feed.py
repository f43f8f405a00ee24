"""Between the link's bytes and the core's streams."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.fifo import Fifo
from lutgen.gateware.tree import position_bits
from lutgen.spec.fifo import FifoSpec
from lutgen.spec.link import LinkSpec
from lutgen.spec.link_frames import LOAD_WORD_BYTES, OFFSET_BITS

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
        The offset behind the last byte that is in the buffer.
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
                "expected": In(OFFSET_BITS),
                "tables": In(1),
                "read_en": Out(1),
                "read_addr": Out(self.addr_bits),
                "read_data": In(8),
                "taken": Out(OFFSET_BITS),
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
        # A queue of n rows holds one more entry.
        m.submodules.queue = queue = Fifo(FifoSpec(9, self.spec.results + 1), result_layout())
        lane, last_lane = Signal(position_bits(size), name="lane"), Signal(name="last_lane")
        moves = Signal(name="moves")
        m.d.comb += [
            last_lane.eq(lane == size - 1),
            moves.eq(self.i.valid & queue.i.space),
            queue.i.reserve.eq(moves),
            queue.i.valid.eq(moves),
            queue.i.p.data.eq(self.i.p.data.word_select(lane, 8)),
            queue.i.p.last.eq(self.i.p.last & last_lane),
            self.i.ready.eq(queue.i.space & last_lane),
        ]
        with m.If(moves):
            m.d.sync += lane.eq(Mux(last_lane, 0, lane + 1))
        connect(m, queue.o, flipped(self.o))
        return m
