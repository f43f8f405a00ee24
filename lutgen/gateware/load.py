"""The loader: a stream of 32-bit words into the memories of a core, and back out of them."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from lutgen.gateware.memory import TablePort
from lutgen.gateware.tree import delay, position_bits
from lutgen.numeric import ceil_div

__all__ = ["LOAD_WORD_BITS", "Loader", "read_back_cycles"]

LOAD_WORD_BITS = 32
# From a word's address to the checksum that holds it, and the comparison.
READ_LATENCY = 4


def words_of(width: int) -> int:
    """Words of a row."""
    return ceil_div(width, LOAD_WORD_BITS)


def read_back_cycles(rams: list[tuple[str, int, int]]) -> int:
    """Cycles from the edge that takes the last word of an image to the one that sets ``loaded`` or
    ``error``: each word is read once, one a cycle.
    """
    return sum(depth * words_of(width) for _, depth, width in rams) + READ_LATENCY


class Loader(wiring.Component):
    """Fills memories one after the other, row by row; a row is whole words, lowest bits first. The
    last word of an image is the CRC-32 of those before it, as zlib computes it of their bytes,
    lowest first. It is compared with what stands in the memories: once all is written they are read
    in the same order, a word a cycle, and the image counts only if their CRC-32 is right.

    Parameters
    ----------
    rams : list of (name, depth, width)

    Members
    -------
    i : In(stream)
        Payload ``data`` and ``last``. Not ready while memories are read back.
    hold : In(1)
        Lets no new image begin.
    wanted : Out(1)
        An image waits or is under way: no sample should begin.
    loaded : Out(1)
        The memories hold a whole image, and no other has begun. While it is low their read ports
        are the loader's.
    error : Out(1)
        ``last`` came early or late, or what was read back has another CRC, or copies of a memory
        differ; stays until reset. Words after a missing ``last`` are swallowed up to the next.
    load_<name> : Out(TablePort)
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
        members |= {f"load_{name}": Out(TablePort(depth, width)) for name, depth, width in rams}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        ends, clear = Signal(name="image_ends"), Signal(name="clear")
        moves, reads = Signal(name="moves"), Signal(name="reads")
        within, skipping = Signal(name="within"), Signal(name="skipping")
        reading, done = Signal(name="reading"), Signal(name="read_back")
        memory, row, word, row_ends = self._walk(m, moves | reads, clear)
        # Of the cycle before, for writing and for reading.
        at_memory = delay(m, None, memory, 1, name="at_memory", reset_less=True)
        at_row = delay(m, None, row, 1, name="at_row", reset_less=True)
        at_word = delay(m, None, word, 1, name="at_word", reset_less=True)
        kept = self._write(m, moves, word, row_ends, at_memory, at_row)
        comes, crc, differs = self._read(m, reading, reads, at_memory, at_word)
        last, right = self.i.p.last, Signal(name="right")
        m.d.comb += [
            ends.eq(memory == len(self.rams)),
            self.wanted.eq(self.i.valid | within | skipping),
            self.i.ready.eq(~reading & (within | skipping | ~self.hold)),
            moves.eq(self.i.valid & self.i.ready & ~skipping),
            reads.eq(reading & ~ends),
            done.eq(reading & ends & ~comes),
            clear.eq((moves & (ends | last)) | done),
            right.eq((crc == kept) & ~differs),
        ]
        with m.If(moves):
            m.d.sync += [
                within.eq(~(ends | last)),
                skipping.eq(ends & ~last),
                reading.eq(ends & last),
                self.loaded.eq(0),
            ]
        with m.If(done):
            m.d.sync += [reading.eq(0), self.loaded.eq(right)]
        with m.If((moves & (ends ^ last)) | (done & ~right)):
            m.d.sync += self.error.eq(1)
        with m.If(skipping & self.i.valid & last):
            m.d.sync += skipping.eq(0)
        return m

    def _walk(self, m, step, clear):
        """Which memory's row is at hand, and which word of it: written once, then read."""
        counts = [words_of(width) for _, _, width in self.rams]
        memory = Signal(position_bits(len(self.rams) + 1), name="memory")
        row = Signal(position_bits(max(depth for _, depth, _ in self.rams)), name="row")
        word = Signal(position_bits(max(counts)), name="word")
        row_ends, memory_ends = Signal(name="row_ends"), Signal(name="memory_ends")
        with m.Switch(memory):
            for number, (_, depth, _) in enumerate(self.rams):
                with m.Case(number):
                    m.d.comb += [
                        row_ends.eq(word == counts[number] - 1),
                        memory_ends.eq(row_ends & (row == depth - 1)),
                    ]
        with m.If(step):
            m.d.sync += [
                word.eq(Mux(row_ends, 0, word + 1)),
                row.eq(Mux(memory_ends, 0, row + row_ends)),
                memory.eq(memory + memory_ends),
            ]
        with m.If(clear):
            m.d.sync += [word.eq(0), row.eq(0), memory.eq(0)]
        return memory, row, word, row_ends

    def _write(self, m, moves, word, row_ends, at_memory, at_row):
        """Gathers words into a row, and writes it in the cycle after its last word. Gives where the
        check word is in the end: in the place of the first word of a row.
        """
        widest = max(words_of(width) for _, _, width in self.rams)
        gathered = Signal(widest * LOAD_WORD_BITS, name="gathered", reset_less=True)
        write = delay(m, None, moves & row_ends, 1, name="write")
        with m.If(moves):
            m.d.sync += gathered.word_select(word, LOAD_WORD_BITS).eq(self.i.p.data)
        for number, (name, _, _) in enumerate(self.rams):
            port = getattr(self, f"load_{name}")
            here = at_memory == number
            m.d.comb += [
                port.borrow.eq(~self.loaded),
                port.reads.eq(here),
                port.en.eq(write & here),
                port.addr.eq(at_row),
                port.data.eq(gathered),
            ]
        return gathered[:LOAD_WORD_BITS]

    def _read(self, m, reading, reads, at_memory, at_word):
        """Whether more comes of what stands in the memories, the CRC of what has come, and whether
        copies differed.

        One flag for each of the memories' words lets it through; they are set a cycle ahead, so
        that no decoder lies behind the memories.
        """
        flags = [reads]
        for number in range(READ_LATENCY - 1):
            flags.append(delay(m, None, flags[-1], 1, name=f"read_{number}"))
        parts, differing = [], []
        for number, (name, _, width) in enumerate(self.rams):
            port = getattr(self, f"load_{name}")
            for k in range(words_of(width)):
                here = (at_memory == number) & (at_word == k)
                chosen = delay(m, None, here, 1, name=f"chosen_{number}_{k}", reset_less=True)
                part = port.back.word_select(k, LOAD_WORD_BITS)[:LOAD_WORD_BITS]
                parts.append(part & chosen.replicate(len(part)))
                differing.append(port.differs & chosen & flags[2])
        while len(parts) > 1:  # a balanced tree
            parts = [reduce(or_, parts[i : i + 4]) for i in range(0, len(parts), 4)]
        word = Signal(LOAD_WORD_BITS, name="read_word", reset_less=True)
        m.d.sync += word.eq(parts[0])
        differs = Signal(name="copies_differ")
        with m.If(~reading):
            m.d.sync += differs.eq(0)
        with m.Elif(Cat(differing).any()):
            m.d.sync += differs.eq(1)
        crc = catalog.CRC32_ISO_HDLC(LOAD_WORD_BITS).create()
        # Its own ``start`` would cost a multiplexer before every bit.
        m.submodules.crc = ResetInserter(~reading)(crc)
        m.d.comb += [crc.data.eq(word), crc.valid.eq(flags[-1])]
        return Cat(flags).any(), crc.crc, differs
