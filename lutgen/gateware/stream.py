"""Streams between stages: beats of elements, regrouped."""

from amaranth.hdl import Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.tree import position_bits
from lutgen.spec.stream import RegrouperSpec

__all__ = ["Register", "Regrouper", "group_layout"]


def group_layout(bits: int, items: int) -> data.StructLayout:
    """A group of items; ``last`` marks the last one of a row."""
    return data.StructLayout({"data": data.ArrayLayout(unsigned(bits), items), "last": 1})


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
    i : In(stream)
        ``spec.i_items`` items; rows follow each other without a mark.
    o : Out(stream)
        Payload `group_layout`.
    """

    def __init__(self, spec: RegrouperSpec, bits: int):
        self.spec = spec
        self.bits = bits
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(unsigned(bits), spec.i_items))),
                "o": Out(stream.Signature(group_layout(bits, spec.o_items))),
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
        beat = Signal(position_bits(spec.beats), name="beat")
        ends, last_beat = Signal(name="beat_ends"), Signal(name="last_beat")
        used = self.i.payload.as_value()[: spec.i_parts * width]
        parts = data.View(data.ArrayLayout(width, spec.i_parts), used)
        m.d.comb += [
            part.eq(parts[number]),
            last_beat.eq(beat == spec.beats - 1),
            ends.eq(number == Mux(last_beat, spec.last_i_parts - 1, spec.i_parts - 1)),
            last.eq(last_beat & ends),
            self.i.ready.eq(taken & ends),
        ]
        with m.If(self.i.valid & taken):
            m.d.sync += number.eq(Mux(ends, 0, number + 1))
            with m.If(ends):
                m.d.sync += beat.eq(Mux(last_beat, 0, beat + 1))

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
