"""The index buffer: every row of indices is walked once, whole and unspoilt."""

from amaranth.hdl import Assert, Assume, Mux, Signal

from lutgen.formal.harness import Inside, Proof, implies
from lutgen.gateware.index_buffer import IndexBuffer
from lutgen.spec.linear import LinearSpec

__all__ = ["IndexBufferProof"]


class IndexBufferProof(Proof):
    """A producer that begins rows while there is space and writes their groups in order, at any
    time; results that have space at any time. One group of one row, whichever ``mark`` picks, is
    followed through all of its lookups.

    Parameters
    ----------
    spec : LinearSpec
        With more than one tile.
    part : type
        `IndexBuffer`, or one with a mistake in it.
    """

    def __init__(self, spec: LinearSpec, part: type = IndexBuffer):
        self.spec = spec
        self.part = part
        bits = spec.fan_in * spec.code_bits
        super().__init__({"reserve": 1, "write": 1, "indices": bits, "o_space": 1, "mark": 1})

    def build(self, m):
        spec, slots = self.spec, self.spec.index_slots
        buffer = self.part(spec)
        inside = Inside(m, buffer)
        group, under = Signal(range(spec.groups + 1)), Signal(range(slots + 2))
        commits = Signal()
        m.d.comb += [
            buffer.reserve.eq(self.reserve),
            buffer.write.eq(self.write),
            buffer.group.eq(self.indices),
            buffer.last.eq(group == spec.groups - 1),
            buffer.o_space.eq(self.o_space),
            commits.eq(self.write & buffer.last),
            Assume(implies(self.reserve, buffer.space)),
            Assume(implies(self.write, self.reserve | (under != 0))),
        ]
        m.d.sync += under.eq(under + self.reserve - commits)
        with m.If(self.write):
            m.d.sync += group.eq(Mux(buffer.last, 0, group + 1))

        # Lookups as they come out: the groups of a tile, the tiles of a row, the rows.
        at, tile = Signal(range(spec.groups + 1)), Signal(range(spec.tiles + 1))
        last, final, walked = Signal(), Signal(), Signal()
        rows = Signal(range(slots + 2))  # committed and not walked
        m.d.comb += [
            last.eq(at == spec.groups - 1),
            final.eq(last & (tile == spec.tiles - 1)),
            walked.eq(buffer.valid & final),
        ]
        m.d.sync += rows.eq(rows + commits - walked)
        with m.If(buffer.valid):
            m.d.sync += [
                at.eq(Mux(last, 0, at + 1)),
                tile.eq(Mux(final, 0, tile + last)),
            ]
        m.d.comb += [
            Assert(implies(buffer.valid, rows != 0)),
            Assert(implies(buffer.valid, buffer.o.first == (at == 0))),
            Assert(implies(buffer.valid, buffer.o.last == last)),
            Assert(implies(buffer.valid, buffer.o.tile == tile)),
            Assert(
                implies(
                    buffer.valid,
                    buffer.o.base == (tile * spec.groups + at) * spec.centroids,
                )
            ),
        ]
        self._results(m, buffer, rows, walked)
        self._follow(m, inside, buffer, group, at, rows, walked)
        self._states(m, inside, buffer, group, under, rows, at, tile, last, final, walked)

    def _results(self, m, buffer, rows, walked):
        """A result for every tile, begun only where there is space for it; and progress."""
        begun, could = Signal(), Signal()
        m.d.sync += [begun.eq(buffer.o_reserve), could.eq(self.o_space & (rows - walked != 0))]
        m.d.comb += [
            Assert(implies(buffer.o_reserve, self.o_space)),
            Assert(begun == (buffer.valid & buffer.o.last)),
            Assert(implies(could, buffer.valid)),
        ]

    def _follow(self, m, inside, buffer, group, at, rows, walked):
        spec, slots = self.spec, self.spec.index_slots
        there, place = Signal(), Signal(range(spec.groups + 1))
        ahead, value = Signal(range(slots + 2)), Signal(len(self.indices))
        with m.If(self.write & self.mark & ~there):
            m.d.sync += [there.eq(1), place.eq(group), value.eq(self.indices)]
            m.d.sync += ahead.eq(rows - walked)
        with m.If(there & walked):
            m.d.sync += [ahead.eq(ahead - 1), there.eq(ahead != 0)]
        front = there & (ahead == 0)
        here = front & buffer.valid & (at == place)
        # The row's slot; its own walk may just have ended and given the slot free.
        slot = Signal(range(slots))
        bits = len(inside("write_group"))
        m.d.comb += [
            slot.eq(inside("read_slot") + ahead - walked),
            Assert(implies(here, buffer.indices == value)),
            Assert(implies(there, place < spec.groups)),
            Assert(implies(there, (ahead < rows) | ((ahead == rows) & (group > place)))),
            Assert(
                implies(
                    there & ~(front & walked),
                    inside.rows("memory")[(slot << bits) + place] == value,
                )
            ),
            # Never into a row that is being or still to be read.
            Assert(
                implies(
                    there & self.write & ~(front & walked) & (ahead < rows),
                    inside("write_slot") != slot,
                )
            ),
        ]

    def _states(self, m, inside, buffer, group, under, rows, at, tile, last, final, walked):
        """Which states can come about: the walk inside is one lookup further than outside."""
        spec, slots = self.spec, self.spec.index_slots
        full, taken = inside("full_slots"), inside("taken_slots")
        next_at, next_tile = Signal.like(at), Signal.like(tile)
        m.d.comb += [
            next_at.eq(Mux(buffer.valid, Mux(last, 0, at + 1), at)),
            next_tile.eq(Mux(buffer.valid, Mux(final, 0, tile + last), tile)),
            Assert((at < spec.groups) & (tile < spec.tiles) & (group < spec.groups)),
            Assert(inside("group", "sequencer") == next_at),
            Assert(inside("tile", "sequencer") == next_tile),
            Assert(
                inside("base", "sequencer") == (next_tile * spec.groups + next_at) * spec.centroids
            ),
            Assert(inside("write_group") == group),
            Assert(full == rows - walked),
            Assert(taken == under + full),
            Assert(taken <= slots),
            Assert(buffer.space == (taken != slots)),
            Assert(implies(group != 0, under != 0)),
            Assert(
                inside("write_slot") == (inside("read_slot") + full)[: len(inside("read_slot"))]
            ),
            # A row whose walk has begun is there until it is over.
            Assert(implies((next_at != 0) | (next_tile != 0), full != 0)),
        ]
