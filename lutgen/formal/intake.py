"""The link's intake: a frame that does not count changes nothing, of whatever length it is, and
what waits for the core stays as it was sent.
"""

from amaranth.hdl import Assert, Mux, Signal

from lutgen.formal.harness import Inside, Proof, implies
from lutgen.gateware.link.intake import LEAST, LEAST_SHORT, Intake
from lutgen.spec.link import LinkSpec, Uart
from lutgen.spec.link_frames import (
    CHECK_BYTES,
    ESCAPE,
    FLAG,
    FLIP,
    HEADER_BYTES,
    OFFSET_BITS,
    SESSION_BITS,
    Command,
)

__all__ = ["IntakeProof", "SmallLink"]


class SmallLink(LinkSpec):
    """A link with a buffer that no real one is as small as.

    Parameters
    ----------
    buffer : int
        Bytes, a power of two.
    load_words : int
        Of a load image; 0 for a core that takes none.
    """

    def __init__(self, buffer: int, load_words: int):
        super().__init__(Uart(4, 1), "0" * 16, 1, 1, 1, 1, load_words=load_words)
        object.__setattr__(self, "buffer", buffer)


def unchecked(part: type, right: Signal) -> type:
    """The part, with an input that says whether the check of what has come is right: any frame has
    a right one for some bytes, but none that a solver finds.
    """

    class Unchecked(part):
        def _right(self, m, bytes_):
            return right

    return Unchecked


class IntakeProof(Proof):
    """A line with any bytes at any time, broken ones among them, and a core that takes what is
    there when it likes. The check is right or wrong as it likes.

    Parameters
    ----------
    buffer, load_words : int
        See `SmallLink`.
    part : type
        `Intake`, or one with a mistake in it.
    """

    def __init__(self, buffer: int, load_words: int, part: type = Intake):
        self.spec = SmallLink(buffer, load_words)
        self.part = part
        bits = {"data": 8, "valid": 1, "broken": 1, "right": 1, "idle": 1, "take": 1, "mark": 1}
        super().__init__(bits)

    def build(self, m):
        intake = unchecked(self.part, self.right)(self.spec)
        inside = Inside(m, intake)
        taken = Signal(OFFSET_BITS, name="taken_offset")
        level = Signal(OFFSET_BITS, name="waiting_bytes")
        reads = Signal(name="reads")
        m.d.comb += [
            level.eq(intake.expected - taken),
            reads.eq(self.take & (level != 0)),
            intake.data.eq(self.data),
            intake.valid.eq(self.valid),
            intake.broken.eq(self.broken),
            intake.idle.eq(self.idle),
            intake.taken.eq(taken),
            intake.read_en.eq(reads),
            intake.read_addr.eq(taken),
            # A frame goes in with its check.
            Assert(level <= self.spec.buffer - CHECK_BYTES),
        ]
        m.d.sync += taken.eq(Mux(intake.clear, 0, taken + reads))
        frame = self._frame(m, inside, intake, level)
        self._counts(m, inside, intake, frame)
        self._contents(m, inside, intake, frame, level, taken, reads)

    def _frame(self, m, inside, intake, level):
        """The frame that is coming in, byte by byte, and what it is once it has ended."""
        f = {
            name: Signal(shape, name=f"frame_{name}")
            for name, shape in {
                "escaped": 1,
                "broken": 1,  # a byte of it was
                "over": 1,  # there was no room for it
                "length": range(LEAST + 1),  # at most the least of one that carries something
                "kind": 8,
                "session": SESSION_BITS,
                "argument": OFFSET_BITS,
                "after": range(
                    self.spec.buffer + 1
                ),  # bytes behind its header, while there is room
                "byte": 8,
                "comes": 1,
                "ends": 1,
                "carries": 1,
                "writes": 1,
                "good": 1,
                "taken": 1,
                "resets": 1,
            }.items()
        }
        length, after, kind = f["length"], f["after"], f["kind"]
        flag, escape = self.data == FLAG, self.data == ESCAPE
        loads = self.spec.load_words > 0
        known = (kind >= Command.INFO) & (kind <= (Command.TABLES if loads else Command.SAMPLES))
        behind = length >= HEADER_BYTES
        full = after + level >= self.spec.buffer
        bad = f["broken"] | f["over"]
        mine = f["session"] == intake.session
        m.d.comb += [
            f["comes"].eq(self.valid & ~flag & ~escape),
            f["ends"].eq(self.valid & flag & (length != 0)),
            f["byte"].eq(self.data ^ Mux(f["escaped"], FLIP, 0)),
            # Kinds that are not known go the same way up to their end, if they look alike.
            f["carries"].eq((kind[:3] == Command.SAMPLES) | (kind[:3] == Command.TABLES)),
            f["writes"].eq(f["comes"] & f["carries"] & behind & ~bad & ~full),
            f["good"].eq(
                f["ends"]
                & self.right
                & known
                & ~bad
                & (length >= Mux(kind < Command.COUNTERS, LEAST_SHORT, LEAST))
            ),
            f["taken"].eq(
                f["good"]
                & f["carries"]
                & mine
                & (f["argument"] == intake.expected)
                & (self.idle | ((kind == Command.TABLES) == intake.tables))
            ),
            f["resets"].eq(f["good"] & (kind == Command.RESET) & mine),
        ]
        with m.If(self.valid):
            m.d.sync += f["escaped"].eq(escape)
        with m.If(f["comes"]):
            m.d.sync += length.eq(Mux(length == LEAST, LEAST, length + 1))
            with m.Switch(length):
                with m.Case(0):
                    m.d.sync += kind.eq(f["byte"])
                for place in range(1, HEADER_BYTES):
                    word, at = ("session", 1) if place < 3 else ("argument", 3)
                    with m.Case(place):
                        m.d.sync += f[word].word_select(place - at, 8).eq(f["byte"])
            with m.If(f["carries"] & behind & full):
                m.d.sync += f["over"].eq(1)
        with m.If(f["writes"]):
            m.d.sync += after.eq(after + 1)
        with m.If(self.broken):
            m.d.sync += f["broken"].eq(1)
        with m.If(self.valid & flag):
            m.d.sync += [length.eq(0), after.eq(0), f["broken"].eq(0), f["over"].eq(0)]
        self._states(m, inside, intake, f, level, known)
        return f

    def _states(self, m, inside, intake, f, level, known):
        """Which states can come about, in terms of the part's own registers."""
        length, after, kind = f["length"], f["after"], f["kind"]
        bad = f["broken"] | f["over"]
        same = Signal(name="frame_same")
        words = [f["session"].word_select(k, 8) == intake.session.word_select(k, 8) for k in (0, 1)]
        words += [
            ~f["carries"] | (f["argument"].word_select(k, 8) == intake.expected.word_select(k, 8))
            for k in range(OFFSET_BITS // 8)
        ]
        m.d.comb += same.eq(1)
        for place, word in enumerate(words, 1):
            with m.If((length > place) & ~word):
                m.d.comb += same.eq(0)
        fill = inside("fill")
        m.d.comb += [
            Assert(inside("escaped", "unstuffer") == f["escaped"]),
            Assert(inside("frame_bytes") == length),
            Assert(length <= LEAST),
            Assert(inside("bad") == bad),
            Assert(implies(length != 0, inside("kind") == kind[:3])),
            Assert(implies(length != 0, inside("known") == known)),
            Assert(implies(length != 0, inside("matches") == same)),
            Assert(implies(length == 4, inside("argument")[8:] == f["argument"][:8])),
            Assert(implies(length >= 5, inside("argument") == f["argument"][:SESSION_BITS])),
            Assert(implies((length < HEADER_BYTES) | ~f["carries"], after == 0)),
            Assert(implies(f["over"], f["carries"] & (length >= HEADER_BYTES))),
            Assert(implies(~bad, after + level <= self.spec.buffer)),
            Assert(after <= self.spec.buffer),
            Assert(implies(length < LEAST, fill == intake.expected[: len(fill)])),
        ]
        with m.If(f["carries"] & ~bad & (length >= HEADER_BYTES)):
            m.d.comb += [
                Assert(implies(length < LEAST, after == length - HEADER_BYTES)),
                Assert(implies(length == LEAST, after >= CHECK_BYTES)),
                Assert(
                    implies(
                        length == LEAST,
                        fill == (intake.expected + after - CHECK_BYTES)[: len(fill)],
                    )
                ),
            ]

    def _counts(self, m, inside, intake, f):
        """What changes, and when: only a frame that counts changes anything but errors."""
        kind = f["kind"]
        m.d.comb += [
            Assert(intake.info == (f["good"] & (kind == Command.INFO))),
            Assert(
                intake.counters
                == (f["good"] & (kind == Command.COUNTERS) & (f["session"] == intake.session))
            ),
            Assert(implies(intake.counters, intake.mark == f["argument"][:SESSION_BITS])),
            Assert(intake.clear == f["resets"]),
            # There is an answer to every frame, and but one.
            Assert(intake.info + intake.status + intake.counters == f["ends"]),
            Assert(implies(intake.clear, intake.status)),
        ]
        after = {
            name: getattr(intake, name) for name in ("expected", "session", "errors", "tables")
        }
        want = {
            "expected": Mux(
                f["taken"], intake.expected + f["after"] - CHECK_BYTES, intake.expected
            ),
            "session": Mux(f["resets"], f["argument"][:SESSION_BITS], intake.session),
            "errors": intake.errors + (f["ends"] & ~f["good"]),
            "tables": Mux(f["taken"], kind == Command.TABLES, intake.tables),
        }
        later = Signal()  # from the second cycle on
        m.d.sync += later.eq(1)
        for name, signal in after.items():
            next_one = Signal(len(signal), name=f"{name}_wanted")
            value = want[name] if name == "session" else Mux(f["resets"], 0, want[name])
            m.d.sync += next_one.eq(value)
            m.d.comb += Assert(implies(later, signal == next_one))

    def _contents(self, m, inside, intake, f, level, taken, reads):
        """One byte of those that come in, whichever ``mark`` picks, up to when it is read."""
        bits = (self.spec.buffer - 1).bit_length()
        rows = inside.rows("buffer")
        held, there = Signal(name="held"), Signal(name="there")  # in this frame; it has counted
        value, offset = Signal(8, name="held_value"), Signal(OFFSET_BITS, name="held_offset")
        next_offset = Signal(OFFSET_BITS, name="next_offset")
        within = Signal(OFFSET_BITS, name="held_within")
        ahead = Signal(OFFSET_BITS, name="held_ahead")
        leaves, left = Signal(name="leaves"), Signal(name="has_left")
        m.d.comb += [
            next_offset.eq(intake.expected + f["after"]),
            within.eq(offset - intake.expected),
            ahead.eq(offset - taken),
            leaves.eq(there & reads & (ahead == 0)),
        ]
        m.d.sync += left.eq(leaves)
        with m.If(f["writes"] & self.mark & ~there & ~held):
            m.d.sync += [held.eq(1), value.eq(f["byte"]), offset.eq(next_offset)]
        with m.If(f["ends"]):
            m.d.sync += held.eq(0)
            with m.If(f["taken"] & held & (within < f["after"] - CHECK_BYTES)):
                m.d.sync += there.eq(1)
        with m.If(leaves | intake.clear):
            m.d.sync += there.eq(0)
        row = rows[offset[:bits]]
        m.d.comb += [
            # It stands where it was written until it is read, and comes out as it came in.
            Assert(implies(there, row == value)),
            Assert(implies(left, intake.read_data == value)),
            # Which states can come about.
            Assert(implies(there, ahead < level)),
            Assert(~(held & there)),
            Assert(implies(held, f["carries"] & (f["length"] > HEADER_BYTES))),
            Assert(implies(held & ~f["over"] & ~f["broken"], row == value)),
            Assert(implies(held, within < f["after"])),
        ]
