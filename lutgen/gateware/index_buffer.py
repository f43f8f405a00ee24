"""The index buffer: a sample's indices, kept while the matcher walks through the output tiles."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.memory import Buffer
from lutgen.gateware.tree import position_bits
from lutgen.spec.linear import LinearSpec

__all__ = ["IndexBuffer", "Sequencer", "lookup_layout"]


def lookup_layout(spec: LinearSpec) -> data.StructLayout:
    """What goes down the matcher's pipeline beside the data.

    ``base`` is the row of the codebook's first centroid in its bank; ``first`` and ``last`` mark
    the first and last group of a tile, ``final`` the last tile of a sample.
    """
    return data.StructLayout(
        {
            "base": position_bits(spec.bank.depth),
            "tile": position_bits(spec.tiles),
            "first": 1,
            "last": 1,
            "final": 1,
        }
    )


class Sequencer(wiring.Component):
    """Walks through a sample's lookups: groups innermost, then tiles.

    Parameters
    ----------
    spec : LinearSpec

    Members
    -------
    step : In(1)
        The lookup at hand is done in this cycle.
    restart : In(1)
        With ``step``: whatever comes next is the first lookup of a sample.
    o : Out
        The lookup at hand.
    group : Out
    """

    def __init__(self, spec: LinearSpec):
        self.spec = spec
        super().__init__(
            {
                "step": In(1),
                "restart": In(1),
                "o": Out(lookup_layout(spec)),
                "group": Out(position_bits(spec.groups)),
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
            self.o.last.eq(self.group == spec.groups - 1),
            self.o.final.eq(tile == spec.tiles - 1),
        ]
        with m.If(self.step):
            m.d.sync += [
                base.eq(base + spec.centroids),
                self.group.eq(Mux(self.o.last, 0, self.group + 1)),
                tile.eq(tile + self.o.last),
            ]
            with m.If(self.restart | (self.o.last & self.o.final)):
                m.d.sync += [base.eq(0), self.group.eq(0), tile.eq(0)]
        return m


class IndexBuffer(wiring.Component):
    """Two halves: one fills with a sample's indices while the other is read once for every output
    tile.

    A half that ends with ``drop`` is filled again. The lookup that `Sequencer` points to appears on
    ``o``, with its indices on ``indices``, one enabled cycle later.

    Parameters
    ----------
    spec : LinearSpec
        With more than one tile.

    Members
    -------
    i : In(stream)
        Payload ``indices``, ``last``, ``drop``: one group of a sample.
    en : In(1)
        The matcher's pipeline moves.
    valid : Out(1)
        There is a lookup.
    o : Out
    indices : Out
    """

    def __init__(self, spec: LinearSpec):
        self.spec = spec
        self.width = spec.fan_in * spec.index_bits
        entry = data.StructLayout({"indices": self.width, "last": 1, "drop": 1})
        super().__init__(
            {
                "i": In(stream.Signature(entry)),
                "en": In(1),
                "valid": Out(1),
                "o": Out(lookup_layout(spec)),
                "indices": Out(self.width),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        group_bits = position_bits(spec.groups)
        m.submodules.memory = memory = Buffer(2 << group_bits, self.width)
        m.submodules.sequencer = sequencer = Sequencer(spec)

        full = Signal(range(3), name="full_halves")
        write_half, read_half = Signal(name="write_half"), Signal(name="read_half")
        # Derived, not kept: tools then see that what is read is never what is written.
        m.d.comb += read_half.eq(write_half ^ full[0])
        write_group = Signal(group_bits, name="write_group")
        commit, release = Signal(name="commit"), Signal(name="release")
        moves = Signal(name="write_moves")
        m.d.comb += [
            self.i.ready.eq(full != 2),
            moves.eq(self.i.valid & self.i.ready),
            memory.load.en.eq(moves),
            memory.load.addr.eq(Cat(write_group, write_half)),
            memory.load.data.eq(self.i.payload.indices),
            commit.eq(moves & self.i.payload.last & ~self.i.payload.drop),
        ]
        with m.If(moves):
            m.d.sync += write_group.eq(Mux(self.i.payload.last, 0, write_group + 1))

        m.d.comb += [
            sequencer.step.eq(self.en & (full != 0)),
            release.eq(sequencer.step & sequencer.o.last & sequencer.o.final),
            memory.en.eq(self.en & (full != 0)),
            memory.addr.eq(Cat(sequencer.group, read_half)),
            self.indices.eq(memory.data),
        ]
        m.d.sync += [
            write_half.eq(write_half ^ commit),
            full.eq(full + commit - release),
        ]
        lookup = Signal(self.o.shape(), name="lookup", reset_less=True)
        with m.If(self.en):
            m.d.sync += [lookup.eq(sequencer.o), self.valid.eq(full != 0)]
        m.d.comb += self.o.eq(lookup)
        return m
