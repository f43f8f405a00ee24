"""The index buffer: a row's indices, kept while the matcher walks through the output tiles."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.memory import Buffer
from lutgen.gateware.tree import position_bits
from lutgen.spec.linear import LinearSpec

__all__ = ["IndexBuffer", "Sequencer", "lookup_layout"]


def lookup_layout(spec: LinearSpec) -> data.StructLayout:
    """What goes down the matcher's pipeline beside the indices.

    ``base`` is the row of the codebook's first centroid in its bank; ``first`` and ``last`` mark
    the first and last lookup of a tile, ``short`` the last group of a row of indices, ``empty`` a
    lookup that adds nothing.
    """
    return data.StructLayout(
        {
            "base": position_bits(spec.bank.depth),
            "tile": position_bits(spec.tiles),
            "first": 1,
            "last": 1,
            "short": 1,
            "empty": 1,
        }
    )


class Sequencer(wiring.Component):
    """Walks through the lookups of an output row: those of a tile innermost, then tiles.

    Parameters
    ----------
    spec : LinearSpec

    Members
    -------
    step : In(1)
        The lookup at hand is done in this cycle.
    o : Out
        The lookup at hand; ``short`` and ``empty`` are those of a single tap.
    final : Out(1)
        It is the row's last.
    group : Out
        Its number in the tile.
    """

    def __init__(self, spec: LinearSpec):
        self.spec = spec
        super().__init__(
            {
                "step": In(1),
                "o": Out(lookup_layout(spec)),
                "final": Out(1),
                "group": Out(position_bits(spec.turn)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        base = Signal(position_bits(spec.bank.depth), name="base")
        tile = Signal(position_bits(spec.tiles), name="tile")
        m.d.comb += [
            self.o.base.eq(base),
            self.o.tile.eq(tile),
            self.o.first.eq(self.group == 0),
            self.o.last.eq(self.group == spec.turn - 1),
            self.o.short.eq(self.o.last),
            self.final.eq(self.o.last & (tile == spec.tiles - 1)),
        ]
        with m.If(self.step):
            m.d.sync += [
                base.eq(Mux(self.final, 0, base + spec.centroids)),
                self.group.eq(Mux(self.o.last, 0, self.group + 1)),
                tile.eq(Mux(self.final, 0, tile + self.o.last)),
            ]
        return m


class IndexBuffer(wiring.Component):
    """A few rows of indices: one fills while another is read, once for every output tile.

    The lookup that `Sequencer` points to appears on ``o``, with its indices on ``indices``, one
    cycle later.

    Parameters
    ----------
    spec : LinearSpec
        With more than one tile.

    Members
    -------
    space : Out(1)
        A row may be begun.
    reserve : In(1)
        One is; only together with ``space``.
    write : In(1)
    group : In
        Indices of a group.
    last : In(1)
        It is the row's last.
    o_space : In(1)
        A result may be begun.
    o_reserve : Out(1)
        One is.
    valid : Out(1)
        There is a lookup.
    o : Out
    indices : Out
    """

    def __init__(self, spec: LinearSpec):
        self.spec = spec
        self.width = spec.fan_in * spec.code_bits
        super().__init__(
            {
                "space": Out(1),
                "reserve": In(1),
                "write": In(1),
                "group": In(self.width),
                "last": In(1),
                "o_space": In(1),
                "o_reserve": Out(1),
                "valid": Out(1),
                "o": Out(lookup_layout(spec)),
                "indices": Out(self.width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        group_bits, slots = position_bits(spec.groups), spec.index_slots
        m.submodules.memory = memory = Buffer(spec.index_rows, self.width)
        m.submodules.sequencer = sequencer = Sequencer(spec)

        taken = Signal(range(slots + 1), name="taken_slots")
        full = Signal(range(slots + 1), name="full_slots")
        write_slot, read_slot = (
            Signal(range(slots), name=f"{what}_slot") for what in ("write", "read")
        )
        write_group = Signal(group_bits, name="write_group")
        commit, release = Signal(name="commit"), Signal(name="release")
        m.d.comb += [
            self.space.eq(taken != slots),
            memory.load.en.eq(self.write),
            memory.load.addr.eq(Cat(write_group, write_slot)),
            memory.load.data.eq(self.group),
            commit.eq(self.write & self.last),
        ]
        with m.If(self.write):
            m.d.sync += write_group.eq(Mux(self.last, 0, write_group + 1))

        m.d.comb += [
            sequencer.step.eq((full != 0) & (~sequencer.o.last | self.o_space)),
            self.o_reserve.eq(sequencer.step & sequencer.o.last),
            release.eq(sequencer.step & sequencer.final),
            memory.en.eq(sequencer.step),
            memory.addr.eq(Cat(sequencer.group, read_slot)),
            self.indices.eq(memory.data),
        ]
        m.d.sync += [
            write_slot.eq(write_slot + commit),
            read_slot.eq(read_slot + release),
            full.eq(full + commit - release),
            taken.eq(taken + self.reserve - release),
        ]
        lookup = Signal(self.o.shape(), name="lookup", reset_less=True)
        m.d.sync += [lookup.eq(sequencer.o), self.valid.eq(sequencer.step)]
        m.d.comb += self.o.eq(lookup)
        return m
