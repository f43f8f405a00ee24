"""Distance units."""

from collections.abc import Sequence

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.tree import registered_tree
from lutgen.spec.distance import DistanceSpec

__all__ = ["DistanceUnit", "element_shape"]


def element_shape(fmt):
    """The Amaranth shape of a `lutgen.numeric.Format`."""
    return signed(fmt.bits) if fmt.signed else unsigned(fmt.bits)


class DistanceUnit(wiring.Component):
    """The distance of ``x`` from ``c``, one a cycle, `DistanceSpec.latency` enabled cycles later.

    Parameters
    ----------
    spec : DistanceSpec
    fixed : sequence of int or None
        What ``c`` is, where that is known: no comparison is written whose outcome is.

    Members
    -------
    en : In(1)
        The pipeline moves.
    x, c : In
        ``spec.dims`` elements each.
    o : Out
        The distance.
    """

    def __init__(self, spec: DistanceSpec, fixed: Sequence[int] | None = None):
        self.spec = spec
        self.fixed = fixed
        vector = data.ArrayLayout(element_shape(spec.element), spec.dims)
        super().__init__(
            {"en": In(1), "x": In(vector), "c": In(vector), "o": Out(spec.output.bits)}
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        terms = []
        for d in range(spec.dims):
            x, c = self.x[d], self.c[d]
            term = Signal(spec.element.bits, name=f"difference_{d}", reset_less=True)
            with m.If(self.en):
                m.d.sync += term.eq(self._difference(x, c, d))
            if spec.metric == "l2":
                square = Signal(2 * spec.element.bits, name=f"square_{d}", reset_less=True)
                with m.If(self.en):
                    m.d.sync += square.eq(term * term)
                term = square
            terms.append(term)

        def combine(a, b):
            return Mux(a >= b, a, b) if spec.metric == "chebyshev" else a + b

        m.d.comb += self.o.eq(registered_tree(m, self.en, terms, combine, name="level"))
        return m

    def _difference(self, x, c, d):
        """The absolute difference of dimension ``d``."""
        fixed = None if self.fixed is None else self.fixed[d]
        if fixed == self.spec.element.low:
            return x - c
        if fixed == self.spec.element.high:
            return c - x
        return Mux(x >= c, x - c, c - x)
