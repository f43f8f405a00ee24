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
    RESULT,
    SESSION_BITS,
    STATUS,
    TAKEN_BITS,
    Answer,
)

__all__ = ["Composer"]

# Where each answer begins in the one table of all of them, by a number for each of their bytes.
# All but the first begin alike: places that differ in their upper bits only share their logic.
INFO_AT, STATUS_AT, RESULT_AT, COUNTERS_AT = 0, 32, 48, 64
PAYLOAD_AT = RESULT_AT + RESULT.size  # stays there until the result's last byte
CHECK_AT = PAYLOAD_AT + 1  # likewise, behind every answer
CYCLES_AT = COUNTERS_AT + 5  # the first of three counters
PLACES = COUNTERS_AT + COUNTERS.size
assert INFO.size <= STATUS_AT
assert STATUS_AT + STATUS.size <= RESULT_AT
assert CHECK_AT < COUNTERS_AT


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
        For a status. All bytes of an offset are those of one cycle.
    mark : In(16)
        Of the question for counters; taken when that is due.
    low_<k>, high_<k>, counting, turn
        Three of the `Counters`: cycles, busy, waits.
    image : In(32)
    """

    def __init__(self, spec: LinkSpec):
        self.spec = spec
        members = {"info": In(1), "status": In(1), "counters": In(1)}
        members |= {"i": In(stream.Signature(result_layout())), "o": Out(stream.Signature(8))}
        members |= {"session": In(SESSION_BITS), "taken": In(TAKEN_BITS)}
        members |= {"expected": In(OFFSET_BITS), "mark": In(SESSION_BITS)}
        members |= {"flags": In(8), "errors": In(8), "counting": Out(1)}
        for number in range(3):
            members |= {f"low_{number}": In(8), f"high_{number}": In(8)}
        super().__init__(members | {"turn": Out(1), "image": In(32)})
        self.lows = [getattr(self, f"low_{number}") for number in range(3)]
        self.highs = [getattr(self, f"high_{number}") for number in range(3)]

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = SerialCrc()
        at = Signal(range(PLACES), name="at")
        byte, bit = Signal(8, name="byte", reset_less=True), Signal(3, name="bit")
        # An offset may change before its last byte goes: all are taken when the lowest is.
        rest = Signal(OFFSET_BITS - 8, name="rest", reset_less=True)
        rest_next = Signal(OFFSET_BITS - 8, name="rest_next")
        due = {name: Signal(name=f"{name}_due") for name in ("info", "status", "counters")}
        escaped, special = Signal(name="escaped"), Signal(name="special")
        checking, last = Signal(name="checking"), Signal(name="last_byte")
        check = Signal(range(CHECK_BYTES), name="check")
        results = Signal(OFFSET_BITS, name="results")
        mark = Signal(SESSION_BITS, name="mark_due", reset_less=True)
        source, ends = self._table(m, at, results, mark, rest, rest_next, crc.crc)
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
                m.d.sync += byte.eq(source)
                m.d.sync += last.eq(Mux(checking, check == CHECK_BYTES - 1, ends))
                m.d.comb += self.i.ready.eq(payload)
                with m.If(~payload | self.i.valid):
                    m.d.sync += rest.eq(rest_next)
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
        with m.If(self.counters):
            m.d.sync += mark.eq(self.mark)
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
        high_bytes = [CYCLES_AT + place for place in range(12) if place % 4]
        m.d.comb += [
            self.counting.eq(fsm.ongoing("IDLE") | (at < COUNTERS_AT)),
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

    def _table(self, m, at, results, mark, rest, rest_next, crc):
        """The byte at a place of the table, and whether it is the last of its answer."""
        low_rest, kept = rest[:8], {}
        table: list[object] = [None] * PLACES

        def put(place, *words, keep=False):
            for word in words:
                parts = [word[k : k + 8] for k in range(0, len(word), 8)]
                if keep:
                    kept[place] = word[8:]
                    parts[1:] = [low_rest] * (len(parts) - 1)
                for part in parts:
                    table[place] = part
                    place += 1
            return place

        put(INFO_AT, *(Const(byte, 8) for byte in self.spec.info.body))
        # One object for each byte that stands in more than one answer.
        head = [word[k : k + 8] for word in (self.session, results) for k in range(0, len(word), 8)]
        place = put(STATUS_AT, Const(Answer.STATUS, 8), *head)
        place = put(place, self.taken, self.expected, keep=True)
        status_end = put(place, self.flags, self.errors)
        place = put(COUNTERS_AT, Const(Answer.COUNTERS, 8), *head[:2], mark)
        for low, high in zip(self.lows, self.highs, strict=True):
            place = put(place, low, high, high, high)
        counters_end = put(place, self.image)
        assert (
            put(RESULT_AT, Const(Answer.RESULT, 8), *head, self.i.p.data, ~crc[:8]) == CHECK_AT + 1
        )
        source, ends = Signal(8, name="source"), Signal(name="source_ends")
        ending = [at == place - 1 for place in (INFO_AT + INFO.size, status_end, counters_end)]
        m.d.comb += [
            source.eq(pick(table, at)),
            ends.eq(Cat(*ending, (at == PAYLOAD_AT) & self.i.p.last).any()),
            rest_next.eq(rest >> 8),
        ]
        with m.Switch(at):
            for place, upper in kept.items():
                with m.Case(place):
                    m.d.comb += rest_next.eq(upper)
        return source, ends
