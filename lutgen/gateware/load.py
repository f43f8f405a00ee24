"""The loader: a stream of 32-bit words into the memories of a core."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from lutgen.gateware.memory import LoadPort
from lutgen.gateware.tree import position_bits
from lutgen.numeric import ceil_div

__all__ = ["LOAD_WORD_BITS", "Loader"]

LOAD_WORD_BITS = 32


class Loader(wiring.Component):
    """Fills memories one after the other, row by row; a row is whole words, lowest bits first. The
    last word of an image is the CRC-32 of those before it, as zlib computes it of their bytes,
    lowest first.

    Parameters
    ----------
    rams : list of (name, depth, width)

    Members
    -------
    i : In(stream)
        Payload ``data`` and ``last``.
    hold : In(1)
        Lets no new image begin.
    wanted : Out(1)
        An image waits or is under way: no sample should begin.
    loaded : Out(1)
        A whole image has arrived, and no other has begun.
    error : Out(1)
        ``last`` came early or late, or the CRC was wrong; stays until reset. Words after a missing
        ``last`` are swallowed up to the next.
    load_<name> : Out(LoadPort)
        One for every memory.
    """

    def __init__(self, rams: list[tuple[str, int, int]]):
        self.rams = rams
        word = data.StructLayout({"data": LOAD_WORD_BITS, "last": 1})
        members = {
            "i": In(stream.Signature(word)),
            "hold": In(1),
            "wanted": Out(1),
            "loaded": Out(1),
            "error": Out(1),
        }
        members |= {f"load_{name}": Out(LoadPort(depth, width)) for name, depth, width in rams}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        words_per_row = [ceil_div(width, LOAD_WORD_BITS) for _, _, width in self.rams]
        memory = Signal(position_bits(len(self.rams) + 1), name="memory")
        row = Signal(position_bits(max(depth for _, depth, _ in self.rams)), name="row")
        word = Signal(position_bits(max(words_per_row)), name="word")
        within, skipping = Signal(name="within"), Signal(name="skipping")
        moves = Signal(name="moves")
        m.d.comb += [
            self.wanted.eq(self.i.valid | within | skipping),
            self.i.ready.eq(within | skipping | ~self.hold),
            moves.eq(self.i.valid & self.i.ready & ~skipping),
        ]
        row_ends, memory_ends = Signal(name="row_ends"), Signal(name="memory_ends")
        with m.Switch(memory):
            for number, (_, depth, _) in enumerate(self.rams):
                with m.Case(number):
                    m.d.comb += [
                        row_ends.eq(word == words_per_row[number] - 1),
                        memory_ends.eq(row_ends & (row == depth - 1)),
                    ]
            with m.Default():
                m.d.comb += [row_ends.eq(0), memory_ends.eq(0)]
        ends, wrong = Signal(name="image_ends"), Signal(name="wrong")
        last = self.i.p.last
        m.submodules.crc = crc = catalog.CRC32_ISO_HDLC(LOAD_WORD_BITS).create()
        m.d.comb += [
            ends.eq(memory == len(self.rams)),
            wrong.eq((ends ^ last) | (ends & (crc.crc != self.i.p.data))),
            crc.data.eq(self.i.p.data),
            crc.valid.eq(moves & ~ends & ~last),  # `start` would take it for the next image
            crc.start.eq(moves & (ends | last)),
        ]
        with m.If(moves):
            m.d.sync += [
                within.eq(~(ends | last)),
                skipping.eq(ends & ~last),
                self.loaded.eq(ends & ~wrong),
                word.eq(Mux(row_ends | ends | last, 0, word + 1)),
                row.eq(Mux(memory_ends | last, 0, row + row_ends)),
                memory.eq(Mux(ends | last, 0, memory + memory_ends)),
            ]
            with m.If(wrong):
                m.d.sync += self.error.eq(1)
        with m.If(skipping & self.i.valid & last):
            m.d.sync += skipping.eq(0)
        self._write(m, moves & row_ends, memory, row, word, moves)
        return m

    def _write(self, m, row_done, memory, row, word, moves):
        """Gathers words into a row, and writes it in the cycle after its last word."""
        widest = max(ceil_div(width, LOAD_WORD_BITS) for _, _, width in self.rams)
        gathered = Signal(widest * LOAD_WORD_BITS, name="gathered", reset_less=True)
        at_memory = Signal.like(memory, name="write_memory", reset_less=True)
        at_row = Signal.like(row, name="write_row", reset_less=True)
        write = Signal(name="write")
        m.d.sync += [write.eq(row_done), at_memory.eq(memory), at_row.eq(row)]
        with m.If(moves):
            m.d.sync += gathered.word_select(word, LOAD_WORD_BITS).eq(self.i.p.data)
        for number, (name, _, _) in enumerate(self.rams):
            port = getattr(self, f"load_{name}")
            m.d.comb += [
                port.en.eq(write & (at_memory == number)),
                port.addr.eq(at_row),
                port.data.eq(gathered),
            ]
