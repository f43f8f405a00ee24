"""The argmax stage: scores in, class out."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.distance import element_shape
from lutgen.gateware.encoder import pick_best
from lutgen.gateware.fifo import Pushes
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
    i : In(stream)
        ``spec.lanes`` elements.
    o : Out(Pushes)
        One class.
    """

    def __init__(self, spec: ArgmaxSpec):
        self.spec = spec
        super().__init__(
            {
                "i": In(
                    stream.Signature(data.ArrayLayout(element_shape(spec.element), spec.lanes))
                ),
                "o": Out(Pushes(data.ArrayLayout(element_shape(spec.result), 1))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        number = Signal(position_bits(spec.beats), name="beat")
        last, may, moves = Signal(name="last_beat"), Signal(name="may"), Signal(name="moves")
        m.d.comb += [
            last.eq(number == spec.beats - 1),
            may.eq(self.o.space | ~last),
            moves.eq(self.i.valid & may),
            self.i.ready.eq(may),
            self.o.reserve.eq(moves & last),
        ]
        with m.If(moves):
            m.d.sync += number.eq(Mux(last, 0, number + 1))

        filled = spec.elements - (spec.beats - 1) * spec.lanes
        entries = []
        for lane in range(spec.lanes):
            value = self.i.p[lane]
            if lane >= filled:  # nothing there in the last beat: the least value loses every tie
                value = Mux(last, Const(spec.element.low, value.shape()), value)
            key = Signal(element_shape(spec.element), name=f"key_{lane}")
            m.d.comb += key.eq(value)
            entries.append((key, Const(lane, position_bits(spec.lanes))))
        key, lane = pick_best(m, Const(1), entries, lambda b, a: b > a, name="greatest")
        levels = clog2(spec.lanes)
        best = lane
        if spec.beats > 1:
            valid = delay(m, None, moves, levels, name="valid")
            at = delay(m, None, number, levels, name="beat_at", reset_less=True)
            best_key = Signal.like(key, name="best_key", reset_less=True)
            best = Signal(element_shape(spec.result), name="best", reset_less=True)
            with m.If(valid & ((at == 0) | (key > best_key))):
                m.d.sync += [best_key.eq(key), best.eq(at * spec.lanes + lane)]
        result = Signal(element_shape(spec.result), name="result", reset_less=True)
        m.d.sync += result.eq(best)
        m.d.comb += [
            self.o.valid.eq(delay(m, None, moves & last, spec.latency, name="result_valid")),
            self.o.p[0].eq(result),
        ]
        return m
