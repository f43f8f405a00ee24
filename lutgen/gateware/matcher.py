"""The parts of a matcher: LUT bank, accumulator tree, requantiser. All of fixed latency, moved by
an enable.
"""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.distance import element_shape
from lutgen.gateware.memory import LoadPort, Store
from lutgen.gateware.tree import pack_rows, position_bits, registered_tree
from lutgen.spec.matcher import BankSpec, RequantiserSpec, TreeSpec

__all__ = ["AccumulatorTree", "LutBank", "Requantiser"]


class LutBank(wiring.Component):
    """Table rows: an address in, ``lanes`` values out `BankSpec.latency` enabled cycles later.

    Parameters
    ----------
    spec : BankSpec
    rows : list of int or None
        Packed rows of codes, or None for a RAM.

    Members
    -------
    en : In(1)
    addr : In
    o : Out
        ``lanes`` signed values.
    load : In(LoadPort)
        RAM only.
    """

    def __init__(self, spec: BankSpec, rows: list[int] | None):
        self.spec = spec
        self._rows = rows
        members = {
            "en": In(1),
            "addr": In(position_bits(spec.depth)),
            "o": Out(data.ArrayLayout(signed(spec.value.bits), spec.lanes)),
        }
        if rows is None:
            members["load"] = In(LoadPort(spec.depth, spec.row_bits))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        m.submodules.table = table = Store(spec.depth, spec.row_bits, self._rows)
        m.d.comb += [table.en.eq(self.en), table.addr.eq(self.addr)]
        if self._rows is None:
            connect(m, flipped(self.load), table.load)
        if spec.grid.kind == "int":
            codes = data.View(data.ArrayLayout(signed(spec.grid.bits), spec.lanes), table.data)
            m.d.comb += [self.o[lane].eq(codes[lane]) for lane in range(spec.lanes)]
            return m
        codes = data.View(data.ArrayLayout(unsigned(spec.grid.bits), spec.lanes), table.data)
        contents = pack_rows(spec.grid.values[:, None], spec.value.bits)
        for lane in range(spec.lanes):
            m.submodules[f"grid_{lane}"] = grid = Store(spec.grid.codes, spec.value.bits, contents)
            m.d.comb += [
                grid.en.eq(self.en),
                grid.addr.eq(codes[lane]),
                self.o[lane].eq(grid.data.as_signed()),
            ]
        return m


class AccumulatorTree(wiring.Component):
    """The sum of the values of one lane, `TreeSpec.latency` enabled cycles later.

    Parameters
    ----------
    spec : TreeSpec

    Members
    -------
    en : In(1)
    i : In
        ``spec.inputs`` signed values.
    o : Out
        Their sum, modulo ``2**spec.output_bits``.
    """

    def __init__(self, spec: TreeSpec):
        self.spec = spec
        super().__init__(
            {
                "en": In(1),
                "i": In(data.ArrayLayout(signed(spec.value.bits), spec.inputs)),
                "o": Out(signed(spec.output_bits)),
            }
        )

    def elaborate(self, platform):
        m = Module()

        def add(a, b):
            return (a + b)[: self.spec.acc.bits].as_signed()

        values = [self.i[f][: self.spec.acc.bits].as_signed() for f in range(self.spec.inputs)]
        m.d.comb += self.o.eq(registered_tree(m, self.en, values, add, name="sum"))
        return m


class Requantiser(wiring.Component):
    """``clamp((acc + half) >> shift)`` in a register, one enabled cycle later.

    Parameters
    ----------
    spec : RequantiserSpec

    Members
    -------
    en : In(1)
    i : In
        The accumulator.
    o : Out
        The result.
    """

    def __init__(self, spec: RequantiserSpec):
        self.spec = spec
        super().__init__(
            {
                "en": In(1),
                "i": In(element_shape(spec.acc)),
                "o": Out(element_shape(spec.result)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        result = Signal.like(self.o, name="result", reset_less=True)
        if spec.output is None:
            value = self.i
        else:
            half = 1 << (spec.shift - 1) if spec.shift else 0
            width = max(spec.acc.bits, spec.shift + 1) + 1  # half may exceed the accumulator
            rounded = Signal(signed(width), name="rounded")
            shifted = Signal(signed(width - spec.shift), name="shifted")
            m.d.comb += [
                rounded.eq(self.i + half),
                shifted.eq(rounded >> spec.shift),
            ]
            value = shifted
            # A bound that the accumulator can't reach needs no comparator.
            if spec.output.high < (1 << (len(shifted) - 1)) - 1:
                value = Mux(shifted > spec.output.high, spec.output.high, value)
            if spec.output.low > -(1 << (len(shifted) - 1)):
                value = Mux(shifted < spec.output.low, spec.output.low, value)
        with m.If(self.en):
            m.d.sync += result.eq(value)
        m.d.comb += self.o.eq(result)
        return m
