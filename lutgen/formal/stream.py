"""The regrouper: no item lost, doubled or moved, zeros after the last, and a part a cycle."""

from amaranth.asserts import AnyConst
from amaranth.hdl import Array, Assert, Module, Mux, Signal

from lutgen.formal.harness import Inside, Marked, Proof, implies, stalls
from lutgen.gateware.stream import Regrouper
from lutgen.gateware.tree import position_bits
from lutgen.spec.stream import RegrouperSpec

__all__ = ["RegrouperProof"]


class RegrouperProof(Proof):
    """A source that keeps a beat until it is taken, a sink that takes when it likes; one item of
    every sample, at a place that never changes, is followed.

    Parameters
    ----------
    spec : RegrouperSpec
    part : type
        `Regrouper`, or one with a mistake in it.
    """

    BITS = 2

    def __init__(self, spec: RegrouperSpec, part: type = Regrouper):
        self.spec = spec
        self.part = part
        bits = spec.i_items * self.BITS
        super().__init__({"valid": 1, "p": bits, "ready": 1, "mark": 1})

    def build(self, m: Module):
        spec = self.spec
        regroup = self.part(spec, self.BITS)
        inside = Inside(m, regroup)
        i = regroup.i
        m.d.comb += [i.valid.eq(self.valid), i.p.as_value().eq(self.p)]
        m.d.comb += regroup.o.ready.eq(self.ready)
        waits = stalls(m, i, assume=True, name="i")
        stalls(m, regroup.o, name="o")
        if spec.registered:
            valid, group = inside("group__valid"), inside("group__payload")
            ready = Signal()
            m.d.comb += ready.eq(~regroup.o.valid | self.ready)
            self._register(m, inside, regroup, valid & ready, group)
        else:
            valid, group, ready = regroup.o.valid, regroup.o.p.as_value(), self.ready
        self._gather(m, inside, i, waits, valid, ready, regroup.o.p.shape()(group))

    def _register(self, m, inside, regroup, push, group):
        o = regroup.o
        pop = o.valid & self.ready
        kept = Marked(m, 1, push=push, mark=self.mark, pop=pop, i=group, o=o.p.as_value())
        m.d.comb += [
            Assert(o.valid == (kept.level != 0)),
            Assert(implies(kept.there, inside("held", "register") == kept.value)),
        ]

    def _gather(self, m, inside, i, waits, valid, ready, group):
        spec = self.spec
        takes, gives = Signal(), Signal()
        beat, number = Signal(range(spec.beats + 1)), Signal(range(spec.groups + 1))
        last_beat, last = Signal(), Signal()
        m.d.comb += [
            takes.eq(i.valid & i.ready),
            gives.eq(valid & ready),
            last_beat.eq(beat == spec.beats - 1),
            last.eq(number == spec.groups - 1),
        ]
        with m.If(takes):
            m.d.sync += beat.eq(Mux(last_beat, 0, beat + 1))
        with m.If(gives):
            m.d.sync += number.eq(Mux(last, 0, number + 1))

        # The item that is followed: as it stands in its beat, and later as it stood there.
        place = Signal(position_bits(spec.items))
        m.d.comb += place.eq(AnyConst(len(place)))
        chosen = place < spec.items
        at_beat, at_lane = self._table(place, spec.i_items)
        at_group, at_item = self._table(place, spec.o_items)
        at_part, at_rest = self._table(place, spec.part)
        now, kept, want = Signal(self.BITS), Signal(self.BITS), Signal(self.BITS)
        m.d.comb += [
            now.eq(Array(i.p[k] for k in range(spec.i_items))[at_lane]),
            want.eq(Mux(beat > at_beat, kept, now)),
        ]
        with m.If(takes & (beat == at_beat)):
            m.d.sync += kept.eq(now)
        out = Array(group.data[k] for k in range(spec.o_items))
        here = chosen & valid & (number == at_group)
        m.d.comb += [
            Assert(implies(here, (beat >= at_beat) & (out[at_item] == want))),
            Assert(implies(valid, i.valid)),
            Assert(implies(valid, group.last == last)),
            # A sample is as many beats and as many groups, and both end together.
            Assert((takes & last_beat) == (gives & last)),
        ]
        for k in range(spec.o_items):
            if k >= spec.last_items:
                spare = last if k < spec.o_filled else 1
                m.d.comb += Assert(implies(valid & spare, group.data[k] == 0))
        self._progress(m, i, valid, ready, takes, gives, inside)
        self._states(m, inside, waits, beat, number, chosen, at_part, at_rest, at_group, want)

    def _table(self, place, size: int):
        """Quotient and rest of the place in the sample by a size, by table."""
        pairs = [divmod(k, size) for k in range(1 << len(place))]
        return Array(q for q, _ in pairs)[place], Array(r for _, r in pairs)[place]

    def _progress(self, m, i, valid, ready, takes, gives, inside):
        """With input there and output taken a part moves in every cycle: a beat is gone after as
        many as it has parts, a group is there after as many.
        """
        spec = self.spec
        slow_i, slow_o = Signal(range(spec.i_parts + 1)), Signal(range(spec.o_parts + 1))
        with m.If(takes):
            m.d.sync += slow_i.eq(0)
        with m.Elif(i.valid & ready):
            m.d.sync += slow_i.eq(slow_i + 1)
        with m.If(gives):
            m.d.sync += slow_o.eq(0)
        with m.Elif(i.valid & ~valid):
            m.d.sync += slow_o.eq(slow_o + 1)
        m.d.comb += [
            Assert(slow_i < spec.i_parts),
            Assert(slow_o < spec.o_parts),
            Assert(slow_i <= inside("i_part")),
            Assert(slow_o <= inside("o_part")),
        ]

    def _states(self, m, inside, waits, beat, number, chosen, at_part, at_rest, at_group, want):
        """Which states can come about: both sides are as far, and what was gathered is kept."""
        spec = self.spec
        i_part, o_part = inside("i_part"), inside("o_part")
        done = Signal(range(spec.beats * spec.i_parts + 1))
        m.d.comb += [
            done.eq(beat * spec.i_parts + i_part),
            Assert(inside("beat") == beat),
            Assert((beat < spec.beats) & (number < spec.groups)),
            Assert(done < spec.parts),
            Assert((i_part < spec.i_parts) & (o_part < spec.o_parts)),
            Assert(done == number * spec.o_parts + o_part),
            Assert(implies(i_part != 0, waits)),
        ]
        gathered = chosen & (at_group == number) & (done > at_part)
        first = Signal(range(spec.parts + spec.o_parts))
        m.d.comb += first.eq(number * spec.o_parts)
        for slot in range(spec.o_parts - 1):
            kept = inside(f"kept_{slot}").word_select(at_rest, self.BITS)
            here = gathered & (at_part == first + slot)
            m.d.comb += Assert(implies(here, kept == want))
