"""The encoders of a stage: groups of sub-vectors in, groups of indices out."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.distance import element_shape
from lutgen.gateware.encoder import CentroidEncoder
from lutgen.gateware.tree import delay, position_bits
from lutgen.spec.linear import LinearSpec

__all__ = ["Encoders"]


class Encoders(wiring.Component):
    """``fan_in`` encoders side by side, one group of sub-vectors at a time. They never stop.

    Parameters
    ----------
    spec : LinearSpec
    books : list
        Contents of each encoder's codebook memory, or None for a RAM; empty for digit layers,
        whose indices are the items themselves.

    Members
    -------
    valid : In(1)
        A group is at hand; it stays for ``spec.encoder.interval`` cycles with ``valid`` high.
    items : In
        The group.
    last : In(1)
        It is the last of its row.
    first_step, last_step : Out(1)
        It is in the first, the last of these cycles.
    o_valid, o_last : Out(1)
        A group's indices are there, ``spec.encoder.latency`` cycles after its last step.
    o : Out
        The indices.
    load_codebook_0.. : In(TablePort)
        RAMs only.
    """

    def __init__(self, spec: LinearSpec, books: list):
        self.spec = spec
        encoder = spec.encoder
        self.units = [
            CentroidEncoder(encoder, spec.groups * encoder.interval, rows) for rows in books
        ]
        members = {
            "valid": In(1),
            "items": In(spec.group_items * spec.item_bits),
            "last": In(1),
            "first_step": Out(1),
            "last_step": Out(1),
            "o_valid": Out(1),
            "o_last": Out(1),
            "o": Out(spec.fan_in * spec.code_bits),
        }
        members |= {
            f"load_codebook_{f}": unit.signature.members["load"]
            for f, unit in enumerate(self.units)
            if unit.is_ram
        }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        if not self.units:
            m.d.comb += [
                self.first_step.eq(1),
                self.last_step.eq(1),
                self.o_valid.eq(self.valid),
                self.o_last.eq(self.last),
                self.o.eq(self.items),
            ]
            return m
        encoder = spec.encoder
        dim = Signal(position_bits(encoder.dim_steps), name="dim")
        block = Signal(position_bits(encoder.blocks), name="block")
        row = Signal(position_bits(spec.groups * encoder.interval), name="row")
        last_dim = Signal(name="last_dim")
        m.d.comb += [
            last_dim.eq(dim == encoder.dim_steps - 1),
            self.first_step.eq((dim == 0) & (block == 0)),
            self.last_step.eq(last_dim & (block == encoder.blocks - 1)),
        ]
        with m.If(self.valid):
            m.d.sync += [
                dim.eq(Mux(last_dim, 0, dim + 1)),
                block.eq(Mux(self.last_step, 0, block + last_dim)),
                row.eq(Mux(self.last_step & self.last, 0, row + 1)),
            ]
        element = element_shape(spec.element)
        vectors = data.View(
            data.ArrayLayout(data.ArrayLayout(element, spec.subvec), spec.fan_in), self.items
        )
        for f, unit in enumerate(self.units):
            m.submodules[f"encoder_{f}"] = unit
            m.d.comb += [
                unit.en.eq(1),
                unit.valid.eq(1),  # the row is always one of the codebook's
                unit.x.eq(vectors[f]),
                unit.row.eq(row),
                unit.dim.eq(dim),
                unit.block_first.eq(block == 0),
            ]
            if unit.is_ram:
                connect(m, flipped(getattr(self, f"load_codebook_{f}")), unit.load)
        done = delay(m, None, self.valid & self.last_step, encoder.latency, name="done")
        last = delay(m, None, self.last, encoder.latency, name="done_last", reset_less=True)
        m.d.comb += [
            self.o_valid.eq(done),
            self.o_last.eq(last),
            self.o.eq(Cat(unit.o for unit in self.units)),
        ]
        return m
