"""Small stream parts: what a beat is, a skid buffer, a regrouper, the frame check at the input."""

from amaranth.hdl import Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.tree import position_bits
from lutgen.spec.stream import RegrouperSpec

__all__ = ["FrameCheck", "Register", "Regrouper", "Skid", "beat"]


def beat(shape, lanes: int) -> data.StructLayout:
    """The payload of every stream between stages.

    ``last`` marks the last beat of a sample. ``drop``, on a last beat, says that the sample is not
    to be: the stage that takes it in starts the next one afresh and gives no result.
    """
    return data.StructLayout({"data": data.ArrayLayout(shape, lanes), "last": 1, "drop": 1})


class Skid(wiring.Component):
    """A register that catches one beat when the receiver stops: ``i.ready`` comes from a register
    alone.

    Adds no latency.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.

    Members
    -------
    i : In(stream)
    o : Out(stream)
    full : Out(1)
        A beat is caught.
    """

    def __init__(self, shape):
        super().__init__(
            {
                "i": In(stream.Signature(shape)),
                "o": Out(stream.Signature(shape)),
                "full": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        full = self.full
        caught = Signal.like(self.i.payload, name="caught", reset_less=True)
        m.d.comb += [
            self.i.ready.eq(~full),
            self.o.valid.eq(self.i.valid | full),
            self.o.payload.eq(Mux(full, caught, self.i.payload)),
        ]
        with m.If(self.o.ready):
            m.d.sync += full.eq(0)
        with m.Elif(self.i.valid):
            m.d.sync += full.eq(1)
        with m.If(~full):
            m.d.sync += caught.eq(self.i.payload)
        return m


class Register(wiring.Component):
    """A registered stage: one beat, one cycle of latency, full rate.

    Parameters
    ----------
    shape : ShapeLike
        Of the payload.

    Members
    -------
    i : In(stream)
    o : Out(stream)
    """

    def __init__(self, shape):
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform):
        m = Module()
        valid = Signal(name="holds")
        payload = Signal.like(self.i.payload, name="held", reset_less=True)
        m.d.comb += [
            self.i.ready.eq(~valid | self.o.ready),
            self.o.valid.eq(valid),
            self.o.payload.eq(payload),
        ]
        with m.If(self.i.ready):
            m.d.sync += [valid.eq(self.i.valid), payload.eq(self.i.payload)]
        return m


class Regrouper(wiring.Component):
    """Beats of some items in, groups of others out; see `RegrouperSpec`.

    Adds no latency, as the part that completes a group passes straight through; with
    ``spec.registered``, one cycle.

    Parameters
    ----------
    spec : RegrouperSpec
    bits : int
        Width of an item.

    Members
    -------
    i, o : In(stream), Out(stream)
        Payloads are `beat` of the items.
    """

    def __init__(self, spec: RegrouperSpec, bits: int):
        self.spec = spec
        self.bits = bits
        super().__init__(
            {
                "i": In(stream.Signature(beat(unsigned(bits), spec.i_items))),
                "o": Out(stream.Signature(beat(unsigned(bits), spec.o_items))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        width = spec.part * self.bits
        part = Signal(width, name="part")
        last = Signal(name="part_last")
        taken = Signal(name="part_taken")

        number = Signal(position_bits(spec.i_parts), name="i_part")
        ends = Signal(name="beat_ends")
        used = self.i.payload.data.as_value()[: spec.i_parts * width]
        parts = data.View(data.ArrayLayout(width, spec.i_parts), used)
        m.d.comb += [
            part.eq(parts[number]),
            ends.eq(number == Mux(self.i.payload.last, spec.last_i_parts - 1, spec.i_parts - 1)),
            last.eq(self.i.payload.last & ends),
            self.i.ready.eq(taken & ends),
        ]
        with m.If(self.i.valid & taken):
            m.d.sync += number.eq(Mux(ends, 0, number + 1))

        group = stream.Signature(self.o.p.shape()).create()
        self._gather(m, part, last, taken, group)
        if spec.registered:
            m.submodules.register = register = Register(self.o.p.shape())
            connect(m, group, register.i)
            connect(m, register.o, flipped(self.o))
        else:
            connect(m, group, flipped(self.o))
        return m

    def _gather(self, m, part, last, taken, o):
        spec = self.spec
        number = Signal(position_bits(spec.o_parts), name="o_part")
        complete = Signal(name="group_complete")
        m.d.comb += [
            complete.eq(last | (number == spec.o_parts - 1)),
            o.valid.eq(self.i.valid & complete),
            o.payload.last.eq(last),
            o.payload.drop.eq(self.i.payload.drop),
            taken.eq(Mux(complete, o.ready, 1)),
        ]
        with m.If(self.i.valid & taken):
            m.d.sync += number.eq(Mux(complete, 0, number + 1))
        out = Signal(data.ArrayLayout(len(part), spec.o_parts), name="group")
        for slot in range(spec.o_parts - 1):
            kept = Signal.like(part, name=f"kept_{slot}", reset_less=True)
            with m.If(self.i.valid & (number == slot)):
                m.d.sync += kept.eq(part)
            # The part at hand stands where the last group, if it is a short one, ends.
            here = last if slot == spec.last_o_parts - 1 else Const(0)
            m.d.comb += out[slot].eq(Mux(here, part, kept))
        m.d.comb += out[spec.o_parts - 1].eq(part)
        items = data.View(data.ArrayLayout(self.bits, spec.o_filled), out.as_value())
        for item in range(spec.o_filled):  # the rest stays 0
            padding = last if item >= spec.last_items else Const(0)
            m.d.comb += o.payload.data[item].eq(Mux(padding, 0, items[item]))


class FrameCheck(wiring.Component):
    """Checks that ``last`` comes with the last beat of every sample, and condemns samples where it
    does not.

    An early ``last`` ends the sample there, marked as ``drop``. A sample whose last beat comes
    without ``last`` is marked as ``drop`` too, and everything up to the next ``last`` is swallowed.
    Adds no latency.

    Parameters
    ----------
    shape : ShapeLike
        Of an element.
    lanes, beats : int
        Elements of a beat, beats of a sample.
    pace : int
        Cycles from the first beat of a sample to the moment when the next may begin; 0 for any.

    Members
    -------
    i, o : In(stream), Out(stream)
        ``drop`` of ``i`` is ignored.
    within : Out(1)
        A beat of a sample has been taken, and not its last.
    ended : Out(1)
        A good sample ends in this cycle.
    error : Out(1)
        A sample was condemned; stays until reset.
    """

    def __init__(self, shape, lanes: int, beats: int, pace: int = 0):
        self.beats = beats
        self.pace = pace
        layout = beat(shape, lanes)
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                "o": Out(stream.Signature(layout)),
                "within": Out(1),
                "ended": Out(1),
                "error": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        number = Signal(position_bits(self.beats), name="beat")
        skipping = Signal(name="skipping")
        final = Signal(name="final_beat")
        moves = Signal(name="moves")
        wrong = Signal(name="wrong")
        pause = Signal(name="pause")
        waits = self._pace(m, moves & (number == 0))
        last = self.i.payload.last
        m.d.comb += [
            self.within.eq(skipping | (number != 0)),
            pause.eq(waits & (number == 0)),
            final.eq(number == self.beats - 1),
            wrong.eq(last ^ final),
            # Once offered, a beat stays offered: only one that is taken starts the pace anew.
            self.o.valid.eq(self.i.valid & ~skipping & ~pause),
            self.i.ready.eq(skipping | (self.o.ready & ~pause)),
            self.o.payload.data.eq(self.i.payload.data),
            self.o.payload.last.eq(last | final),
            self.o.payload.drop.eq(wrong),
            moves.eq(self.o.valid & self.o.ready),
            self.ended.eq(moves & last & final),
        ]
        with m.If(moves):
            m.d.sync += [
                number.eq(Mux(self.o.payload.last, 0, number + 1)),
                skipping.eq(final & ~last),
            ]
            with m.If(wrong):
                m.d.sync += self.error.eq(1)
        with m.If(skipping & self.i.valid & last):
            m.d.sync += skipping.eq(0)
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
