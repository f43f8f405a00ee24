"""The parts of a matcher: LUT bank, accumulator tree, requantiser. All of fixed latency, moved by
an enable.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.distance import element_shape
from lutgen.gateware.index_buffer import lookup_layout
from lutgen.gateware.memory import Store, TablePort
from lutgen.gateware.tree import delay, pack_rows, position_bits, registered_tree
from lutgen.spec.linear import LinearSpec
from lutgen.spec.matcher import BankSpec, RequantiserSpec, TreeSpec

__all__ = ["AccumulatorTree", "LutBank", "Matcher", "Requantiser"]


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
    valid : In(1)
        The row ``addr`` is looked up.
    addr : In
    o : Out
        ``lanes`` signed values.
    load : In(TablePort)
        RAM only.
    """

    def __init__(self, spec: BankSpec, rows: list[int] | None):
        self.spec = spec
        self._rows = rows
        members = {
            "en": In(1),
            "valid": In(1),
            "addr": In(position_bits(spec.depth)),
            "o": Out(data.ArrayLayout(signed(spec.value.bits), spec.lanes)),
        }
        if rows is None:
            members["load"] = In(TablePort(spec.depth, spec.row_bits))
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        m.submodules.table = table = Store(spec.depth, spec.row_bits, self._rows)
        m.d.comb += [table.en.eq(self.en & self.valid), table.addr.eq(self.addr)]
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


class Matcher(wiring.Component):
    """Indices to results: LUT banks, accumulator trees, accumulators, requantisers. It never stops.

    Parameters
    ----------
    spec : LinearSpec
    banks : list
        Packed rows of each of the ``fan_in`` LUT banks, or None for RAMs.
    bias : list of int or None

    Members
    -------
    valid : In(1)
        There is a lookup.
    lookup : In
        `lookup_layout`.
    indices : In
        Of a group.
    o_valid : Out(1)
        A beat of results, `LinearSpec.matcher_latency` cycles after its last lookup.
    o : Out
    load_table_0.., load_bias : In(TablePort)
        RAMs only.
    """

    def __init__(self, spec: LinearSpec, banks: list, bias: list[int] | None):
        self.spec = spec
        self.banks = [LutBank(spec.bank, rows) for rows in banks]
        self.bias = Store(spec.tiles, spec.lanes * spec.acc.bits, bias)
        members = {
            "valid": In(1),
            "lookup": In(lookup_layout(spec)),
            "indices": In(spec.fan_in * spec.code_bits),
            "o_valid": Out(1),
            "o": Out(data.ArrayLayout(element_shape(spec.result), spec.lanes)),
        }
        self._loaded = {}
        if bias is None:
            self._loaded = {f"load_table_{f}": bank for f, bank in enumerate(self.banks)}
            self._loaded["load_bias"] = self.bias
        members |= {name: part.signature.members["load"] for name, part in self._loaded.items()}
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        for name, part in self._loaded.items():
            connect(m, flipped(getattr(self, name)), part.load)
        before_tree = spec.address_latency + spec.bank.latency
        to_acc = before_tree + spec.tree.latency
        at = [self.lookup]  # the lookup as it goes down the pipeline
        for number in range(to_acc + 1):
            at.append(delay(m, None, at[-1], 1, name=f"lookup_{number}", reset_less=True))
        valid = delay(m, None, self.valid, spec.address_latency, name="valid_address")
        valid_acc = delay(m, None, valid, to_acc - spec.address_latency, name="valid")
        valid_done = delay(m, None, valid_acc, 1, name="valid_done")

        values = self._look_up(m, valid, at, before_tree)
        m.submodules.bias = self.bias
        m.d.comb += [self.bias.en.eq(1), self.bias.addr.eq(at[to_acc - 1].tile)]
        bias = data.View(data.ArrayLayout(signed(spec.acc.bits), spec.lanes), self.bias.data)
        for lane in range(spec.lanes):
            m.submodules[f"tree_{lane}"] = tree = AccumulatorTree(spec.tree)
            m.submodules[f"requantiser_{lane}"] = requantiser = Requantiser(spec.requantiser)
            acc = Signal(signed(spec.acc.bits), name=f"acc_{lane}", reset_less=True)
            m.d.comb += [
                tree.en.eq(1),
                requantiser.en.eq(1),
                requantiser.i.eq(acc),
                self.o[lane].eq(requantiser.o),
            ]
            m.d.comb += [tree.i[f].eq(values[f][lane]) for f in range(spec.fan_in)]
            with m.If(valid_acc):
                m.d.sync += acc.eq(Mux(at[to_acc].first, bias[lane], acc) + tree.o)
        done = at[to_acc + 1]
        m.d.comb += self.o_valid.eq(delay(m, None, valid_done & done.last, 1, name="result_valid"))
        return m

    def _look_up(self, m, valid, at, latency):
        """The values ``[fan_in][lanes]`` of the indices, 0 for banks that have no codebook for the
        lookup, or an index that stands for nothing; ``latency`` cycles later. ``valid`` marks the
        cycles in which addresses are there.

        What stands for nothing may be any number. Where a codebook has as many rows as there are
        numbers, every one is a row; elsewhere none is looked up that stands for nothing.
        """
        spec = self.spec
        to_address = spec.address_latency
        values = []
        for f, bank in enumerate(self.banks):
            m.submodules[f"table_{f}"] = bank
            code = self.indices.word_select(f, spec.code_bits)
            index = code[: spec.index_bits]
            if spec.address_latency:
                address = Signal(
                    position_bits(spec.bank.depth), name=f"address_{f}", reset_less=True
                )
                m.d.sync += address.eq(self.lookup.base + index)
            else:
                address = self.lookup.base | index
            empty, nothing = [], []  # with the address, and with what comes of it
            if spec.taps > 1:
                empty.append(at[to_address].empty)
                nothing.append(at[latency].empty)
            if f >= spec.last_group:
                empty.append(at[to_address].short)
                nothing.append(at[latency].short)
            if spec.metric == "index":
                mark = code[spec.index_bits]
                mark = delay(m, None, mark, to_address, name=f"mark_address_{f}", reset_less=True)
                empty.append(mark)
                mark = delay(m, None, mark, latency - to_address, name=f"mark_{f}", reset_less=True)
                nothing.append(mark)
            m.d.comb += [
                bank.en.eq(1),
                bank.valid.eq(valid & ~Cat(empty).any() if to_address else 1),
                bank.addr.eq(address),
            ]
            if not nothing:
                values.append(bank.o)
                continue
            gated = Signal(bank.o.shape(), name=f"values_{f}")
            m.d.comb += gated.as_value().eq(Mux(Cat(nothing).any(), 0, bank.o.as_value()))
            values.append(gated)
        return values
