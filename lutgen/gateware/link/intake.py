"""From bytes of the line to commands, and to a buffer that holds nothing but what is right."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.link.frame import SerialCrc, Unstuffer
from lutgen.gateware.memory import Buffer
from lutgen.spec.link import LinkSpec
from lutgen.spec.link_frames import CHECK_BYTES, HEADER_BYTES, OFFSET_BITS, Command

__all__ = ["Intake"]

LEAST = HEADER_BYTES + CHECK_BYTES  # bytes of a frame


class Intake(wiring.Component):
    """Takes frames apart. A frame counts when its last byte has come and its check is right: until
    then what it carries lies in the buffer behind what is known, and is written over if it turns
    out wrong. So is what does not stand at the offset that is expected.

    Parameters
    ----------
    spec : LinkSpec

    Members
    -------
    data, valid, broken : In
        From the `Receiver`.
    read_en, read_addr, read_data
        The buffer's other side; ``read_data`` follows in the next cycle.
    taken : In(16)
        The offset of the next byte to be read.
    idle : In(1)
        All that is in the buffer has gone to the core, samples and images whole.
    expected : Out(16)
        The offset behind the last byte that may be read.
    tables : Out(1)
        What is in the buffer belongs to a load image.
    info, status, counters : Out(1)
        An answer is due: high for one cycle.
    clear : Out(1)
        The reset command: high for one cycle. All but this must start anew.
    session : Out(8)
    errors : Out(8)
    """

    def __init__(self, spec: LinkSpec):
        self.spec = spec
        self.addr_bits = (spec.buffer - 1).bit_length()
        super().__init__(
            {
                "data": In(8),
                "valid": In(1),
                "broken": In(1),
                "read_en": In(1),
                "read_addr": In(self.addr_bits),
                "read_data": Out(8),
                "taken": In(OFFSET_BITS),
                "idle": In(1),
                "expected": Out(OFFSET_BITS),
                "tables": Out(1),
                "info": Out(1),
                "status": Out(1),
                "counters": Out(1),
                "clear": Out(1),
                "session": Out(8),
                "errors": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.unstuffer = bytes_ = Unstuffer()
        m.submodules.crc = crc = SerialCrc()
        count = Signal(range(LEAST + 1), name="frame_bytes")  # stays at the least of a frame
        kind, known = Signal(3, name="kind"), Signal(name="known")
        argument = Signal(8, name="argument", reset_less=True)
        matches, bad = Signal(name="matches"), Signal(name="bad")
        carries = Signal(name="carries")
        byte = bytes_.data
        m.d.comb += [bytes_.i_data.eq(self.data), bytes_.i_valid.eq(self.valid)]
        full = self._store(m, bytes_, count, carries)

        kinds = (
            list(Command) if self.spec.load_words else [k for k in Command if k != Command.TABLES]
        )
        with m.If(bytes_.valid):
            with m.If(count != LEAST):
                m.d.sync += count.eq(count + 1)
            with m.Switch(count):
                with m.Case(0):
                    m.d.sync += [
                        kind.eq(byte),
                        known.eq((byte >= min(kinds)) & (byte <= max(kinds))),
                    ]
                with m.Case(1):
                    m.d.sync += [argument.eq(byte), matches.eq(byte == self.expected[:8])]
                with m.Case(2):
                    m.d.sync += matches.eq(matches & (byte == self.expected[8:]))
        m.d.comb += carries.eq((kind == Command.SAMPLES) | (kind == Command.TABLES))
        with m.If(self.broken | (full & bytes_.valid)):
            m.d.sync += bad.eq(1)

        ends, good = Signal(name="frame_ends"), Signal(name="good")
        mode = kind == Command.TABLES
        m.d.comb += [
            ends.eq(bytes_.ends & (count != 0)),
            good.eq(ends & crc.right & known & ~bad & (count == LEAST)),
            self.clear.eq(good & (kind == Command.RESET)),
            self.info.eq(good & (kind == Command.INFO)),
            self.counters.eq(good & (kind == Command.COUNTERS)),
            self.status.eq(ends & ~self.info & ~self.counters),
        ]
        fill = self._fill
        with m.If(bytes_.ends):
            m.d.sync += [count.eq(0), bad.eq(0), fill.eq(self.expected)]
        with m.If(ends & ~good):
            m.d.sync += self.errors.eq(self.errors + 1)
        with m.If(good & carries & matches & (self.idle | (mode == self.tables))):
            m.d.sync += [self.expected.eq(fill), fill.eq(fill), self.tables.eq(mode)]
        with m.If(self.clear):
            m.d.sync += [
                self.session.eq(argument),
                self.expected.eq(0),
                fill.eq(0),
                self.tables.eq(0),
                self.errors.eq(0),
            ]
        self._check(m, crc, bytes_)
        return m

    def _store(self, m, bytes_, count, carries):
        """Writes what a frame carries; gives whether there was no room for it."""
        bits = self.addr_bits
        m.submodules.buffer = buffer = Buffer(self.spec.buffer, 8)
        # The last four bytes are the check. `fill` stays four behind: when the frame ends, it
        # stands where the next begins.
        self._fill = fill = Signal(OFFSET_BITS, name="fill")
        place, ahead = Signal(bits + 1, name="place"), Signal(bits + 1, name="ahead")
        full = Signal(name="full")
        m.d.comb += [
            place.eq(fill[: bits + 1] + (count - HEADER_BYTES)),
            ahead.eq(place - self.taken[: bits + 1]),
            full.eq(carries & (count >= HEADER_BYTES) & ahead[bits]),
            buffer.load.en.eq(bytes_.valid & carries & (count >= HEADER_BYTES) & ~full),
            buffer.load.addr.eq(place[:bits]),
            buffer.load.data.eq(bytes_.data),
            buffer.en.eq(self.read_en),
            buffer.addr.eq(self.read_addr),
            self.read_data.eq(buffer.data),
        ]
        with m.If(bytes_.valid & (count == LEAST)):
            m.d.sync += fill.eq(fill + 1)
        return full

    def _check(self, m, crc, bytes_):
        """Shifts every byte through the check, long before the next one comes."""
        shifting, left = Signal(8, name="shifting", reset_less=True), Signal(4, name="shifts_left")
        m.d.comb += [crc.start.eq(bytes_.ends), crc.en.eq(left != 0), crc.bit.eq(shifting[0])]
        with m.If(bytes_.valid):
            m.d.sync += [shifting.eq(bytes_.data), left.eq(8)]
        with m.Elif(left != 0):
            m.d.sync += [shifting.eq(shifting >> 1), left.eq(left - 1)]
