"""The argmax stage: scores in, class out."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.distance import element_shape
from lutgen.gateware.encoder import pick_best
from lutgen.gateware.stream import Skid, beat
from lutgen.gateware.tree import delay, position_bits
from lutgen.numeric import clog2
from lutgen.spec.argmax import ArgmaxSpec

__all__ = ["ArgmaxStage"]


class ArgmaxStage(wiring.Component):
    """The number of a sample's greatest element, ties to the lowest, in one beat.

    A tree finds the greatest of each beat, one beat a cycle; a register keeps the greatest so far.

    Parameters
    ----------
    spec : ArgmaxSpec

    Members
    -------
    i, o : In(stream), Out(stream)
        Payload `beat`.
    """

    def __init__(self, spec: ArgmaxSpec):
        self.spec = spec
        super().__init__(
            {
                "i": In(stream.Signature(beat(element_shape(spec.element), spec.lanes))),
                "o": Out(stream.Signature(beat(element_shape(spec.result), 1))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        m.submodules.skid = skid = Skid(self.o.p.shape())
        connect(m, skid.o, flipped(self.o))
        advance = Signal(name="advance")
        m.d.comb += [advance.eq(~skid.i.valid | skid.i.ready), self.i.ready.eq(advance)]

        number = Signal(position_bits(spec.beats), name="beat")
        with m.If(self.i.valid & advance):
            m.d.sync += number.eq(Mux(self.i.p.last, 0, number + 1))

        filled = spec.elements - (spec.beats - 1) * spec.lanes
        entries = []
        for lane in range(spec.lanes):
            value = self.i.p.data[lane]
            if lane >= filled:  # nothing there in the last beat: the least value loses every tie
                value = Mux(self.i.p.last, Const(spec.element.low, value.shape()), value)
            key = Signal(element_shape(spec.element), name=f"key_{lane}")
            m.d.comb += key.eq(value)
            entries.append((key, Const(lane, position_bits(spec.lanes))))
        key, lane = pick_best(m, advance, entries, lambda b, a: b > a, name="greatest")
        levels = clog2(spec.lanes)
        valid = delay(m, advance, self.i.valid, levels, name="valid")
        last = delay(m, advance, self.i.p.last, levels, name="last", reset_less=True)
        drop = delay(m, advance, self.i.p.drop, levels, name="drop", reset_less=True)
        best = lane
        if spec.beats > 1:
            at = delay(m, advance, number, levels, name="beat_at", reset_less=True)
            best_key = Signal.like(key, name="best_key", reset_less=True)
            best = Signal(element_shape(spec.result), name="best", reset_less=True)
            with m.If(advance & valid & ((at == 0) | (key > best_key))):
                m.d.sync += [best_key.eq(key), best.eq(at * spec.lanes + lane)]
            valid = delay(m, advance, valid, 1, name="valid_best")
            last = delay(m, advance, last, 1, name="last_best", reset_less=True)
            drop = delay(m, advance, drop, 1, name="drop_best", reset_less=True)
        result = Signal(element_shape(spec.result), name="result", reset_less=True)
        with m.If(advance):
            m.d.sync += result.eq(best)
        m.d.comb += [
            skid.i.valid.eq(delay(m, advance, valid & last & ~drop, 1, name="result_valid")),
            skid.i.p.data[0].eq(result),
            skid.i.p.last.eq(1),
        ]
        return m
