"""The ends of a core: samples come in and are checked, results go out or are dropped."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.fifo import Pushes
from lutgen.gateware.tree import position_bits

__all__ = ["FrameCheck", "Gate"]


class FrameCheck(wiring.Component):
    """Checks that ``last`` comes with the last beat of every sample, and gives a verdict on each.

    What goes on is always whole: a sample that ends early is filled up with beats of anything, and
    what comes after the last beat of one that does not end, up to ``last``, is swallowed. So no
    stage has to know of broken samples; `Gate` drops their results.

    Parameters
    ----------
    layout : ShapeLike
        Of a beat's elements.
    beats : int
        Beats of a sample.
    pace : int
        Cycles from the first beat of a sample to the moment when the next may begin; 0 for any.

    Members
    -------
    i : In(stream)
        Payload ``data`` and ``last``.
    o : Out(Pushes)
    room : In(1)
        A sample may begin: there is room for its verdict.
    open : In(1)
        A sample may begin: low while tables are loaded.
    within : Out(1)
        A sample has begun and not ended.
    began : Out(1)
        A sample begins in this cycle.
    judged, good : Out(1)
        A sample's verdict, once each.
    error : Out(1)
        A sample was condemned; stays until reset.
    """

    def __init__(self, layout, beats: int, pace: int = 0):
        self.beats = beats
        self.pace = pace
        super().__init__(
            {
                "i": In(stream.Signature(data.StructLayout({"data": layout, "last": 1}))),
                "o": Out(Pushes(layout)),
                "room": In(1),
                "open": In(1),
                "within": Out(1),
                "began": Out(1),
                "judged": Out(1),
                "good": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        number = Signal(position_bits(self.beats), name="beat")
        # After an early `last` the sample is filled up, after a missing one the rest is swallowed.
        filling, swallowing = Signal(name="filling"), Signal(name="swallowing")
        first, final = Signal(name="first_beat"), Signal(name="final_beat")
        takes, moves = Signal(name="takes"), Signal(name="moves")
        may = Signal(name="may_take")
        waits = self._pace(m, moves & first)
        last = self.i.p.last
        m.d.comb += [
            first.eq(number == 0),
            final.eq(number == self.beats - 1),
            # None of these hangs on the port's inputs: no path leads through the core.
            may.eq(self.o.space & ~filling & Mux(first, self.room & self.open & ~waits, 1)),
            self.i.ready.eq(swallowing | may),
            takes.eq(self.i.valid & may & ~swallowing),
            moves.eq(takes | (filling & self.o.space)),
            self.o.reserve.eq(moves),
            self.o.valid.eq(moves),
            self.o.p.eq(self.i.p.data),
            self.within.eq(~first | swallowing),
            self.began.eq(takes & first),
            self.judged.eq(takes & (last | final)),
            self.good.eq(last & final),
        ]
        with m.If(moves):
            m.d.sync += number.eq(Mux(final, 0, number + 1))
        with m.If(takes):
            m.d.sync += [filling.eq(last & ~final), swallowing.eq(final & ~last)]
            with m.If(last ^ final):
                m.d.sync += self.error.eq(1)
        with m.If(filling & self.o.space & final):
            m.d.sync += filling.eq(0)
        with m.If(swallowing & self.i.valid & last):
            m.d.sync += swallowing.eq(0)
        return m

    def _pace(self, m, begins):
        """Whether the next sample is held back."""
        if self.pace < 2:
            return Const(0)
        left = Signal(range(self.pace), name="pace_left")
        with m.If(begins):
            m.d.sync += left.eq(self.pace - 1)
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        return left != 0


class Gate(wiring.Component):
    """Lets the results of good samples out and drops those of broken ones.

    A sample is numbered among those under way when it begins; its verdict comes when it ends, and
    its result waits for that.

    Parameters
    ----------
    layout : ShapeLike
        Of a result beat's elements.
    beats : int
        Beats of a result.
    samples : int
        The most that may be under way.

    Members
    -------
    i : In(stream)
    o : Out(stream)
        Payload ``data`` and ``last``.
    began, judged, good : In(1)
        From `FrameCheck`.
    room : Out(1)
        A sample may begin.
    idle : Out(1)
        No sample is under way.
    """

    def __init__(self, layout, beats: int, samples: int):
        self.beats = beats
        self.samples = samples
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                "o": Out(stream.Signature(data.StructLayout({"data": layout, "last": 1}))),
                "began": In(1),
                "judged": In(1),
                "good": In(1),
                "room": Out(1, init=1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        count = self.samples
        under_way = Signal(range(count + 1), name="under_way")
        after = Signal.like(under_way, name="under_way_after")
        known = Signal(range(count + 1), name="verdicts")
        # Verdicts of the samples under way, the oldest lowest; 0 above them.
        verdicts = Signal(count, name="verdict_bits")
        leaves, moves, final = (
            Signal(name="leaves"),
            Signal(name="moves"),
            Signal(name="final_beat"),
        )
        there, good = Signal(name="verdict_there"), Signal(name="verdict_good")
        number = Signal(position_bits(self.beats), name="beat")
        m.d.comb += [
            there.eq(known != 0),
            good.eq(verdicts[0]),
            final.eq(number == self.beats - 1),
            self.o.valid.eq(self.i.valid & there & good),
            self.o.p.data.eq(self.i.p),
            self.o.p.last.eq(final),
            self.i.ready.eq(there & (self.o.ready | ~good)),
            moves.eq(self.i.valid & self.i.ready),
            leaves.eq(moves & final),
            after.eq(under_way + self.began - leaves),
            self.idle.eq(under_way == 0),
        ]
        m.d.sync += [
            under_way.eq(after),
            self.room.eq(after < count),
            known.eq(known + self.judged - leaves),
        ]
        with m.If(moves):
            m.d.sync += number.eq(Mux(final, 0, number + 1))
        rest, new = (Signal.like(verdicts, name=f"verdict_bits_{n}") for n in ("rest", "new"))
        place = Signal.like(known, name="verdict_place")
        m.d.comb += [
            place.eq(known - leaves),
            rest.eq(Mux(leaves, verdicts >> 1, verdicts)),
            new.eq((self.judged & self.good) << place),
        ]
        m.d.sync += verdicts.eq(rest | new)
        return m
