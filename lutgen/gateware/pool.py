"""Pooling stages."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.conv import write_words
from lutgen.gateware.distance import element_shape
from lutgen.gateware.fifo import Pushes
from lutgen.gateware.matcher import Requantiser
from lutgen.gateware.ring import LineBuffer
from lutgen.gateware.tree import delay
from lutgen.spec.matcher import RequantiserSpec
from lutgen.spec.pool import MaxPool2dSpec, PoolSpec

__all__ = ["PoolStage"]


class PoolStage(wiring.Component):
    """Max and average pooling: windows read from a line buffer, ``lanes`` channels at a time.

    Parameters
    ----------
    spec : PoolSpec
    i_lanes : int
        Elements of an input beat.

    Members
    -------
    i : In(stream)
    o : Out(Pushes)
    """

    def __init__(self, spec: PoolSpec, i_lanes: int):
        self.spec = spec
        self.i_lanes = i_lanes
        super().__init__(
            {
                "i": In(stream.Signature(data.ArrayLayout(element_shape(spec.element), i_lanes))),
                "o": Out(Pushes(data.ArrayLayout(element_shape(spec.result), spec.lanes))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        m.submodules.lines = lines = LineBuffer(spec.walk, spec.word_bits)
        write_words(m, self.i, spec, self.i_lanes, spec.element.bits, lines)
        step, begins = Signal(name="step"), Signal(init=1, name="turn_begins")
        m.d.comb += [
            step.eq(lines.ready & (self.o.space | ~lines.turn_ends)),
            lines.step.eq(step),
            self.o.reserve.eq(step & lines.turn_ends),
        ]
        with m.If(step):
            m.d.sync += begins.eq(lines.turn_ends)
        there = delay(m, None, step, 1, name="word_there")
        first = delay(m, None, begins, 1, name="word_first", reset_less=True)
        done = delay(m, None, step & lines.turn_ends, spec.latency, name="result_valid")
        words = data.View(data.ArrayLayout(element_shape(spec.element), spec.lanes), lines.data)
        m.d.comb += self.o.valid.eq(done)
        for lane in range(spec.lanes):
            x = words[lane]
            if isinstance(spec, MaxPool2dSpec):
                best = Signal(element_shape(spec.element), name=f"best_{lane}", reset_less=True)
                with m.If(there & (first | (x > best))):
                    m.d.sync += best.eq(x)
                m.d.comb += self.o.p[lane].eq(best)
                continue
            total = Signal(signed(spec.sum.bits), name=f"sum_{lane}", reset_less=True)
            product = Signal(signed(spec.acc.bits), name=f"product_{lane}", reset_less=True)
            with m.If(there):
                m.d.sync += total.eq(Mux(first, 0, total) + x)
            m.d.sync += product.eq(self._times(total, spec.multiplier))
            m.submodules[f"requantiser_{lane}"] = requantiser = Requantiser(
                RequantiserSpec(spec.acc, spec.shift, spec.output)
            )
            m.d.comb += [
                requantiser.en.eq(1),
                requantiser.i.eq(product),
                self.o.p[lane].eq(requantiser.o),
            ]
        return m

    def _times(self, value, factor: int):
        """``value * factor`` by additions: a constant needs no multiplier."""
        terms = [value << k for k in range(factor.bit_length()) if factor >> k & 1]
        while len(terms) > 1:
            pairs = [terms[k : k + 2] for k in range(0, len(terms), 2)]
            terms = [a + b[0] if b else a for a, *b in pairs]
        return terms[0]
