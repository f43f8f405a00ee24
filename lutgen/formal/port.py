"""The ends of a core: whatever frames come in, whole samples go on, and only results of good ones
come out.
"""

from amaranth.hdl import Assert, Assume, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.formal.harness import Inside, Proof, implies, stalls
from lutgen.gateware.fifo import Pushes
from lutgen.gateware.port import FrameCheck, Gate

__all__ = ["PortProof", "Ports"]

DATA = data.ArrayLayout(1, 2)


class Ports(wiring.Component):
    """Both ends, joined as in a core; between them, at ``o`` and ``r``, would be its stages.

    Parameters
    ----------
    check : FrameCheck
    gate : Gate
    """

    def __init__(self, check, gate):
        self.check = check
        self.gate = gate
        beat, result = check.o.p.shape(), gate.i.p.shape()
        super().__init__(
            {
                "i": In(self._marked(beat)),
                "o": Out(Pushes(beat)),
                "open": In(1),
                "r": In(stream.Signature(result)),
                "result": Out(self._marked(result)),
            }
        )

    def _marked(self, layout):
        return stream.Signature(data.StructLayout({"data": layout, "last": 1}))

    def elaborate(self, platform):
        m = Module()
        m.submodules.check = check = self.check
        m.submodules.gate = gate = self.gate
        connect(m, flipped(self.i), check.i)
        connect(m, check.o, flipped(self.o))
        connect(m, flipped(self.r), gate.i)
        connect(m, gate.o, flipped(self.result))
        m.d.comb += [
            check.open.eq(self.open),
            check.room.eq(gate.room),
            gate.began.eq(check.began),
            gate.judged.eq(check.judged),
            gate.good.eq(check.good),
        ]
        return m


class PortProof(Proof):
    """A source of frames of any length, stages that give the results of whole samples in order, at
    any time, and a sink that takes when it likes.

    Parameters
    ----------
    beats, results : int
        Beats of a sample, and of a result.
    samples : int
        The most that may be under way.
    pace : int
    check, gate : type
        `FrameCheck` and `Gate`, or such with a mistake in them.
    """

    def __init__(
        self,
        beats: int,
        results: int,
        samples: int,
        pace: int = 0,
        check: type = FrameCheck,
        gate: type = Gate,
    ):
        self.beats, self.results, self.samples, self.pace = beats, results, samples, pace
        self.check, self.gate = check, gate
        bits = {"valid": 1, "p": 2, "last": 1, "space": 1, "open": 1}
        super().__init__({**bits, "r_valid": 1, "r": 2, "ready": 1, "mark": 1})

    def build(self, m):
        check = self.check(DATA, self.beats, self.pace)
        gate = self.gate(DATA, self.results, self.samples)
        ports = Ports(check, gate)
        inside = Inside(m, ports)
        m.d.comb += [
            ports.i.valid.eq(self.valid),
            ports.i.p.data.as_value().eq(self.p),
            ports.i.p.last.eq(self.last),
            ports.o.space.eq(self.space),
            ports.open.eq(self.open),
            ports.r.valid.eq(self.r_valid),
            ports.r.p.as_value().eq(self.r),
            ports.result.ready.eq(self.ready),
        ]
        stalls(m, ports.i, assume=True, name="i")
        stalls(m, ports.r, assume=True, name="r")
        stalls(m, ports.result, name="o")
        begins, judged, good, unjudged = self._frames(m, inside, ports, check, gate)
        self._results(m, inside, ports, gate, begins, judged, good, unjudged)

    def _frames(self, m, inside, ports, check, gate):
        """What the frames are, beat by beat, and what goes on of them."""
        beats = self.beats
        moves, begins, judged, good = Signal(), Signal(), Signal(), Signal()
        at = Signal(range(beats + 1))  # beats of this frame so far, at most ``beats``
        sent = Signal(range(beats + 1))  # beats of this sample so far
        full = at == beats - 1
        m.d.comb += [
            moves.eq(self.valid & ports.i.ready),
            begins.eq(moves & (at == 0)),
            judged.eq(moves & (at < beats) & (self.last | full)),
            good.eq(self.last & full),
        ]
        with m.If(moves):
            m.d.sync += at.eq(Mux(self.last, 0, Mux(at == beats, beats, at + 1)))
        with m.If(ports.o.valid):
            m.d.sync += sent.eq(Mux(sent == beats - 1, 0, sent + 1))
        filling, swallowing = inside("filling", "check"), inside("swallowing", "check")
        broken = Signal()
        with m.If(judged & ~good):
            m.d.sync += broken.eq(1)
        m.d.comb += [
            Assert(check.began == begins),
            Assert(check.judged == judged),
            Assert(implies(judged, check.good == good)),
            Assert(check.error == broken),
            Assert(check.within == ((at != 0) | (sent != 0))),
            # A beat of a frame goes on unless it is one too many; anything else only fills up.
            Assert(implies(moves & (at < beats), ports.o.valid & (sent == at))),
            Assert(implies(moves & (at < beats), ports.o.p.as_value() == self.p)),
            Assert(implies(moves & (at == beats), ~ports.o.valid)),
            Assert(implies(ports.o.valid & ~moves, (at == 0) & (sent != 0))),
            Assert(ports.o.reserve == ports.o.valid),
            Assert(implies(ports.o.valid, self.space)),
            Assert(implies(begins, (sent == 0) & self.open)),
            # Progress: what can go on does.
            Assert(implies(filling & self.space, ports.o.valid)),
            Assert(implies((at != 0) & (self.space | (at == beats)), ports.i.ready)),
            # Which states can come about.
            Assert((at <= beats) & (sent < beats)),
            Assert(inside("beat", "check") == sent),
            Assert(swallowing == (at == beats)),
            Assert(filling == ((at == 0) & (sent != 0))),
            Assert(implies((at != 0) & (at < beats), sent == at)),
            Assert(implies(at == beats, sent == 0)),
        ]
        self._pace(m, inside, ports, gate, begins, (at == 0) & (sent == 0))
        return begins, judged, good, (at != 0) & (at < beats)

    def _pace(self, m, inside, ports, gate, begins, between):
        since = Signal(range(self.pace + 1), init=self.pace)
        with m.If(begins):
            m.d.sync += since.eq(min(1, self.pace))
        with m.Elif(since != self.pace):
            m.d.sync += since.eq(since + 1)
        m.d.comb += [
            Assert(implies(begins, since == self.pace)),
            Assert(
                implies(
                    between & self.space & self.open & gate.room & (since == self.pace),
                    ports.i.ready,
                )
            ),
        ]
        if self.pace > 1:
            m.d.comb += Assert(inside("pace_left", "check") == self.pace - since)

    def _results(self, m, inside, ports, gate, begins, judged, good, unjudged):
        """The samples under way, and one of them, whichever ``mark`` picks, up to its end."""
        samples = self.samples
        under, beat = Signal(range(samples + 2)), Signal(range(self.results + 1))
        moves, leaves, final = Signal(), Signal(), Signal()
        m.d.comb += [
            Assume(implies(self.r_valid, under != 0)),
            moves.eq(self.r_valid & ports.r.ready),
            final.eq(beat == self.results - 1),
            leaves.eq(moves & final),
        ]
        m.d.sync += under.eq(under + begins - leaves)
        with m.If(moves):
            m.d.sync += beat.eq(Mux(final, 0, beat + 1))

        there, known, verdict = Signal(), Signal(), Signal()
        ahead, after = Signal(range(samples + 1)), Signal(range(samples + 2))
        picked = begins & self.mark & ~there
        newest = Signal()  # the marked sample is the one whose frame is coming in
        m.d.comb += [
            after.eq(under - leaves),
            newest.eq(picked | (there & ~begins & (ahead == under - 1))),
        ]
        with m.If(picked):
            m.d.sync += [there.eq(1), ahead.eq(after), known.eq(0)]
        with m.If(there & leaves):
            m.d.sync += [ahead.eq(ahead - 1), there.eq(ahead != 0)]
        with m.If(judged & newest):
            m.d.sync += [known.eq(1), verdict.eq(good)]

        front, result = there & (ahead == 0), ports.result
        verdicts = inside("verdicts", "gate")
        m.d.comb += [
            Assert(implies(front & ~known, ~result.valid & ~ports.r.ready)),
            Assert(implies(front & known & ~verdict, ~result.valid & ports.r.ready)),
            Assert(implies(front & known & verdict, result.valid == self.r_valid)),
            Assert(implies(front & known & verdict, ports.r.ready == self.ready)),
            Assert(implies(result.valid, self.r_valid)),
            Assert(implies(result.valid, result.p.data.as_value() == self.r)),
            Assert(implies(result.valid, result.p.last == final)),
            # Exact accounts: never more under way than there is room for verdicts.
            Assert(under <= samples),
            Assert(gate.room == (under != samples)),
            Assert(gate.idle == (under == 0)),
            # Which states can come about.
            Assert(beat < self.results),
            Assert(inside("beat", "gate") == beat),
            Assert(inside("under_way", "gate") == under),
            Assert(verdicts + unjudged == under),
            Assert(inside("verdict_bits", "gate") >> verdicts == 0),
            Assert(implies(there, (ahead < under) & (known == (ahead < verdicts)))),
            Assert(
                implies(
                    there & known,
                    inside("verdict_bits", "gate").bit_select(ahead, 1) == verdict,
                )
            ),
            Assert(implies(beat != 0, verdicts != 0)),
        ]
