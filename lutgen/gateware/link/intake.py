"""From bytes of the line to commands, and to a buffer that holds nothing but what is right."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.link.frame import SerialCrc, Unstuffer
from lutgen.gateware.link.pick import pick
from lutgen.gateware.memory import Buffer
from lutgen.spec.link import LinkSpec
from lutgen.spec.link_frames import (
    CHECK_BYTES,
    HEADER_BYTES,
    OFFSET_BITS,
    SESSION_BITS,
    SHORT_BYTES,
    TAKEN_BITS,
    Command,
)

__all__ = ["Intake"]

# Bytes of a frame: of a question, and of what changes something.
LEAST_SHORT, LEAST = SHORT_BYTES + CHECK_BYTES, HEADER_BYTES + CHECK_BYTES
ARGUMENT_AT = 1 + SESSION_BITS // 8


class Intake(wiring.Component):
    """Takes frames apart. A frame counts when its last byte has come and its check is right: until
    then what it carries lies in the buffer behind what is known, and is written over if it turns
    out wrong. So is what is of another session, or does not stand at the offset that is expected.
    A frame that does not count changes nothing but the number of errors (`lutgen.formal.intake`).

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
    mark : Out(16)
        Of the question for counters.
    clear : Out(1)
        The reset command: high for one cycle. All but this must start anew.
    session : Out(16)
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
                "taken": In(TAKEN_BITS),
                "idle": In(1),
                "expected": Out(OFFSET_BITS),
                "tables": Out(1),
                "info": Out(1),
                "status": Out(1),
                "counters": Out(1),
                "clear": Out(1),
                "mark": Out(SESSION_BITS),
                "session": Out(SESSION_BITS),
                "errors": Out(8),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.unstuffer = bytes_ = Unstuffer()
        count = Signal(range(LEAST + 1), name="frame_bytes")  # stays at the least of a frame
        kind, known = Signal(3, name="kind"), Signal(name="known")
        argument = Signal(SESSION_BITS, name="argument", reset_less=True)
        matches, bad = Signal(name="matches"), Signal(name="bad")
        carries = Signal(name="carries")
        byte = bytes_.data
        m.d.comb += [bytes_.i_data.eq(self.data), bytes_.i_valid.eq(self.valid)]
        full = self._store(m, bytes_, count, carries, bad)

        kinds = (
            list(Command) if self.spec.load_words else [k for k in Command if k != Command.TABLES]
        )
        with m.If(bytes_.valid):
            with m.If(count != LEAST):
                m.d.sync += count.eq(count + 1)
            with m.If(count == 0):
                m.d.sync += [
                    kind.eq(byte),
                    known.eq((byte >= min(kinds)) & (byte <= max(kinds))),
                ]
            with m.If(count < ARGUMENT_AT + SESSION_BITS // 8):
                m.d.sync += argument.eq(Cat(argument[8:], byte))
            with m.If(count < HEADER_BYTES):
                same = byte == self._wanted(count)
                free = ~carries & (count >= ARGUMENT_AT)  # of anything but an offset
                m.d.sync += matches.eq((count == 0) | (matches & (same | free)))
        m.d.comb += carries.eq((kind == Command.SAMPLES) | (kind == Command.TABLES))
        with m.If(self.broken | (full & bytes_.valid)):
            m.d.sync += bad.eq(1)

        ends, good = Signal(name="frame_ends"), Signal(name="good")
        mode, enough = kind == Command.TABLES, Signal(name="enough")
        m.d.comb += [
            ends.eq(bytes_.ends & (count != 0)),
            enough.eq((count == LEAST) | ((count >= LEAST_SHORT) & (kind < Command.COUNTERS))),
            good.eq(ends & self._right(m, bytes_) & known & ~bad & enough),
            self.clear.eq(good & (kind == Command.RESET) & matches),
            self.info.eq(good & (kind == Command.INFO)),
            self.counters.eq(good & (kind == Command.COUNTERS) & matches),
            self.mark.eq(argument),
            self.status.eq(ends & ~self.info & ~self.counters),
        ]
        fill = self._fill
        with m.If(bytes_.ends):
            m.d.sync += [count.eq(0), bad.eq(0), fill.eq(self.expected[:TAKEN_BITS])]
        with m.If(ends & ~good):
            m.d.sync += self.errors.eq(self.errors + 1)
        low, high = self.expected[:TAKEN_BITS], self.expected[TAKEN_BITS:]
        with m.If(good & carries & matches & (self.idle | (mode == self.tables))):
            # A frame is shorter than half of what the lower bits count.
            carry = low[-1] & ~fill[-1]
            m.d.sync += [low.eq(fill), high.eq(high + carry), self.tables.eq(mode), fill.eq(fill)]
        with m.If(self.clear):
            m.d.sync += [
                self.session.eq(argument),
                self.expected.eq(0),
                fill.eq(0),
                self.tables.eq(0),
                self.errors.eq(0),
            ]
        return m

    def _wanted(self, count):
        """The byte that must stand at each place of what a frame begins with, but for the first."""
        words = [None]
        for word in (self.session, self.expected):
            words += [word[k : k + 8] for k in range(0, len(word), 8)]
        return pick(words, count)

    def _store(self, m, bytes_, count, carries, bad):
        """Writes what a frame carries; gives whether there was no room for it."""
        bits = self.addr_bits
        m.submodules.buffer = buffer = Buffer(self.spec.buffer, 8)
        # The last four bytes are the check. `fill` stays four behind: when the frame ends, it
        # stands where the next begins.
        self._fill = fill = Signal(TAKEN_BITS, name="fill")
        place, ahead = Signal(bits + 1, name="place"), Signal(bits + 1, name="ahead")
        full = Signal(name="full")
        m.d.comb += [
            place.eq(fill[: bits + 1] + (count - HEADER_BYTES)),
            ahead.eq(place - self.taken[: bits + 1]),
            full.eq(carries & (count >= HEADER_BYTES) & ahead[bits]),
            # What comes after there was no room once would stand where other frames wait.
            buffer.load.en.eq(bytes_.valid & carries & (count >= HEADER_BYTES) & ~full & ~bad),
            buffer.load.addr.eq(place[:bits]),
            buffer.load.data.eq(bytes_.data),
            buffer.en.eq(self.read_en),
            buffer.addr.eq(self.read_addr),
            self.read_data.eq(buffer.data),
        ]
        with m.If(bytes_.valid & (count == LEAST)):
            m.d.sync += fill.eq(fill + 1)
        return full

    def _right(self, m, bytes_):
        """Shifts every byte through the check, long before the next one comes; gives whether it is
        right.
        """
        m.submodules.crc = crc = SerialCrc()
        shifting, left = Signal(8, name="shifting", reset_less=True), Signal(4, name="shifts_left")
        m.d.comb += [crc.start.eq(bytes_.ends), crc.en.eq(left != 0), crc.bit.eq(shifting[0])]
        with m.If(bytes_.valid):
            m.d.sync += [shifting.eq(bytes_.data), left.eq(8)]
        with m.Elif(left != 0):
            m.d.sync += [shifting.eq(shifting >> 1), left.eq(left - 1)]
        return crc.right
