"""The board's own frames: answers and results, byte by byte."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.link.feed import result_layout
from lutgen.gateware.link.frame import SerialCrc, must_escape
from lutgen.gateware.link.pick import pick
from lutgen.spec.link import LinkSpec
from lutgen.spec.link_frames import (
    CHECK_BYTES,
    COUNTERS,
    ESCAPE,
    FLAG,
    FLIP,
    INFO,
    OFFSET_BITS,
    STATUS,
    Answer,
)

__all__ = ["Composer"]

# Where each answer begins in the one table of all of them, by a number for each of their bytes.
INFO_AT = 0
STATUS_AT = INFO_AT + INFO.size
COUNTERS_AT = STATUS_AT + STATUS.size
RESULT_AT = COUNTERS_AT + COUNTERS.size
PAYLOAD_AT = RESULT_AT + 3  # stays there until the result's last byte
CHECK_AT = PAYLOAD_AT + 1  # likewise, behind every answer


class Composer(wiring.Component):
    """Sends what is due, one frame after another. An answer that is asked for again before it has
    begun is sent once. A result begins when its first byte is there and goes on as its bytes come.

    Parameters
    ----------
    spec : LinkSpec

    Members
    -------
    info, status, counters : In(1)
        An answer is due, from the next cycle on.
    i : In(stream)
        Results; payload `result_layout`.
    o : Out(stream)
        Bytes for the line.
    session, expected, taken, flags, errors : In
        For a status. Both bytes of an offset are those of one cycle.
    low_<k>, high_<k>, counting, turn
        Three of the `Counters`: cycles, busy, waits.
    image : In(32)
    """

    def __init__(self, spec: LinkSpec):
        self.spec = spec
        members = {"info": In(1), "status": In(1), "counters": In(1)}
        members |= {"i": In(stream.Signature(result_layout())), "o": Out(stream.Signature(8))}
        members |= {"session": In(8), "expected": In(OFFSET_BITS), "taken": In(OFFSET_BITS)}
        members |= {"flags": In(8), "errors": In(8), "counting": Out(1)}
        for number in range(3):
            members |= {f"low_{number}": In(8), f"high_{number}": In(8)}
        super().__init__(members | {"turn": Out(1), "image": In(32)})
        self.lows = [getattr(self, f"low_{number}") for number in range(3)]
        self.highs = [getattr(self, f"high_{number}") for number in range(3)]

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = SerialCrc()
        at = Signal(range(CHECK_AT + 1), name="at")
        byte, bit = Signal(8, name="byte", reset_less=True), Signal(3, name="bit")
        # A word may change before its high byte goes: that is taken when the low one is.
        high, high_next = Signal(8, name="high", reset_less=True), Signal(8, name="high_next")
        due = {name: Signal(name=f"{name}_due") for name in ("info", "status", "counters")}
        escaped, special = Signal(name="escaped"), Signal(name="special")
        checking, last = Signal(name="checking"), Signal(name="last_byte")
        check, results = Signal(range(CHECK_BYTES), name="check"), Signal(16, name="results")
        source, ends = self._table(m, at, results, high, high_next, crc.crc)
        payload = Signal(name="payload")
        flip = Cat(Const(0, FLIP.bit_length() - 1), escaped)
        m.d.comb += [
            # Fed with its own lowest bits, the check moves on to its next byte.
            crc.bit.eq(byte[0] ^ checking),
            checking.eq(at == CHECK_AT),
            payload.eq(at == PAYLOAD_AT),
            special.eq(must_escape(byte) & ~escaped),
            self.o.payload.eq(FLAG),
        ]
        sent = Signal(name="sent")
        with m.FSM(name="composer") as fsm:
            with m.State("IDLE"):
                m.d.sync += check.eq(0)
                self._choose(m, at, due)
            with m.State("OPEN"):
                m.d.comb += [self.o.valid.eq(1), crc.start.eq(1)]
                with m.If(self.o.ready):
                    m.next = "LOAD"
            with m.State("LOAD"):
                m.d.sync += [high.eq(high_next), byte.eq(source)]
                m.d.sync += last.eq(Mux(checking, check == CHECK_BYTES - 1, ends))
                m.d.comb += self.i.ready.eq(payload)
                with m.If(~payload | self.i.valid):
                    m.next = "SHIFT"
            with m.State("SHIFT"):
                # Eight turns, and the byte is what it was.
                m.d.comb += crc.en.eq(1)
                m.d.sync += [byte.eq(Cat(byte[1:], byte[0])), bit.eq(bit + 1)]
                with m.If(bit == 7):
                    m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += [
                    self.o.valid.eq(1),
                    self.o.payload.eq(Mux(special, ESCAPE, byte ^ flip)),
                ]
                with m.If(self.o.ready):
                    m.d.sync += escaped.eq(special)
                    m.d.comb += sent.eq(~special)
                with m.If(sent):
                    m.next = "LOAD"
                    with m.If(checking & last):
                        m.next = "CLOSE"
            with m.State("CLOSE"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "IDLE"
        for name, flag in due.items():
            with m.If(getattr(self, name)):
                m.d.sync += flag.eq(1)
        with m.If(sent):
            with m.If(checking):
                m.d.sync += check.eq(check + 1)
            with m.Elif(last):
                m.d.sync += [at.eq(CHECK_AT), results.eq(results + payload)]
            with m.Elif(~payload):
                m.d.sync += at.eq(at + 1)
        self._read(m, fsm, at)
        return m

    def _read(self, m, fsm, at):
        """Holds the counters while they are sent, and turns them."""
        high_bytes = [COUNTERS_AT + place for place in range(1, 13) if place % 4 != 1]
        m.d.comb += [
            self.counting.eq(fsm.ongoing("IDLE") | (at < COUNTERS_AT) | (at >= RESULT_AT)),
            # The first of these is some bytes behind the beginning: they have settled.
            self.turn.eq(fsm.ongoing("SHIFT") & Cat(at == place for place in high_bytes).any()),
        ]

    def _choose(self, m, at, due):
        """Begins what is due: answers before results."""
        with m.If(due["status"]):
            m.d.sync += [due["status"].eq(0), at.eq(STATUS_AT)]
            m.next = "OPEN"
        with m.Elif(due["info"]):
            m.d.sync += [due["info"].eq(0), at.eq(INFO_AT)]
            m.next = "OPEN"
        with m.Elif(due["counters"]):
            m.d.sync += [due["counters"].eq(0), at.eq(COUNTERS_AT)]
            m.next = "OPEN"
        with m.Elif(self.i.valid):
            m.d.sync += at.eq(RESULT_AT)
            m.next = "OPEN"

    def _table(self, m, at, results, high, high_next, crc):
        """The byte at a place of the table, and whether it is the last of its answer."""
        table: list[tuple[object, object]] = [
            (Const(byte, 8), None) for byte in self.spec.info.body
        ]
        table += [(Const(Answer.STATUS, 8), None), (self.session, None)]
        for word in (self.expected, self.taken, results):
            table += [(word[:8], word[8:]), (high, None)]
        table += [(self.flags, None), (self.errors, None), (Const(Answer.COUNTERS, 8), None)]
        for low, high_bytes in zip(self.lows, self.highs, strict=True):
            table += [(low, None), *[(high_bytes, None)] * 3]
        table += [(self.image.word_select(number, 8), None) for number in range(4)]
        table += [(Const(Answer.RESULT, 8), None), (results[:8], results[8:]), (high, None)]
        table += [(self.i.p.data, None), (~crc[:8], None)]
        source, ends = Signal(8, name="source"), Signal(name="source_ends")
        ending = [at == place - 1 for place in (STATUS_AT, COUNTERS_AT, RESULT_AT)]
        m.d.comb += [
            source.eq(pick([byte for byte, _ in table], at)),
            ends.eq(Cat(*ending, (at == PAYLOAD_AT) & self.i.p.last).any()),
        ]
        with m.Switch(at):
            for place, (_, above) in enumerate(table):
                if above is not None:
                    with m.Case(place):
                        m.d.comb += high_next.eq(above)
        return source, ends
