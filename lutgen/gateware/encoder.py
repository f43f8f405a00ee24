"""Centroid encoders: sub-vector in, index of the nearest centroid out."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.distance import DistanceUnit, element_shape
from lutgen.gateware.memory import Buffer, LoadPort, Store, TablePort
from lutgen.gateware.tree import delay, position_bits, registered_tree
from lutgen.numeric import clog2
from lutgen.spec.encoder import EncoderSpec

__all__ = ["CentroidEncoder", "pick_best"]


def pick_best(m, en, entries, better, *, name):
    """The best of ``(key, number)`` pairs by a registered tree; ``better(b, a)`` lets a later b
    replace an earlier a.

    Returns
    -------
    key, number : expressions
        ``clog2(len(entries))`` cycles later.
    """
    key_bits = len(entries[0][0])
    number_bits = max(len(number) for _, number in entries)
    layout = data.StructLayout(
        {"key": entries[0][0].shape(), "number": unsigned(max(1, number_bits))}
    )
    assert all(len(key) == key_bits for key, _ in entries)

    def view(key, number, tag):
        pair = Signal(layout, name=f"{name}_in_{tag}")
        m.d.comb += [pair.key.eq(key), pair.number.eq(number)]
        return pair.as_value()

    def combine(a, b):
        left, right = data.View(layout, a), data.View(layout, b)
        return Mux(better(right.key, left.key), b, a)

    values = [view(key, number, i) for i, (key, number) in enumerate(entries)]
    best = data.View(layout, registered_tree(m, en, values, combine, name=name))
    return best.key, best.number


class CentroidEncoder(wiring.Component):
    """The index of the nearest centroid of a sub-vector, by the codebook that the row address
    points to.

    A sub-vector is presented for `EncoderSpec.interval` enabled cycles in a row, while ``row``
    walks through the rows of its codebook, ``dim`` through its dimensions (innermost) and
    ``block_first`` marks the first block of centroids. The index appears `EncoderSpec.latency`
    enabled cycles after the last of them, for one enabled cycle.

    Parameters
    ----------
    spec : EncoderSpec
    depth : int
        Rows of the codebook memory: codebooks times ``spec.interval``.
    rows : list of int or None
        Packed rows, or None for a RAM.
    both : bool
        Whether the RAM is loaded while other rows of it are in use.

    Members
    -------
    en : In(1)
    valid : In(1)
        A sub-vector is presented; the row of the codebook is read.
    x : In
        The sub-vector.
    row : In
    dim : In
    block_first : In(1)
    o : Out
        The index.
    load : In(TablePort)
        RAM only; with ``both`` a `LoadPort`.
    """

    def __init__(
        self, spec: EncoderSpec, depth: int, rows: list[int] | None, *, both: bool = False
    ):
        self.spec = spec
        self.depth = depth
        self._rows = rows
        self._both = both
        members = {
            "en": In(1),
            "valid": In(1),
            "x": In(data.ArrayLayout(element_shape(spec.element), spec.subvec)),
            "row": In(position_bits(depth)),
            "dim": In(position_bits(spec.dim_steps)),
            "block_first": In(1),
            "o": Out(spec.index_bits),
        }
        if rows is None:
            members["load"] = In((LoadPort if both else TablePort)(depth, spec.row_bits))
        super().__init__(members)

    @property
    def is_ram(self) -> bool:
        """Whether the codebooks come through the load port."""
        return self._rows is None

    def _fixed(self, number: int) -> list[int] | None:
        """The centroid of a lane, where the codebook is one row, which is a constant."""
        if self._rows is None or self.depth > 1:
            return None
        fmt, dims = self.spec.element, self.spec.parallel_dims
        raw = [self._rows[0] >> fmt.bits * (number * dims + d) for d in range(dims)]
        values = [value & (1 << fmt.bits) - 1 for value in raw]
        return [value - (value > fmt.high) * (1 << fmt.bits) for value in values]

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        shape = element_shape(spec.element)
        book = (
            Buffer(self.depth, spec.row_bits)
            if self._both
            else Store(self.depth, spec.row_bits, self._rows)
        )
        m.submodules.codebook = book
        m.d.comb += [book.en.eq(self.en & self.valid), book.addr.eq(self.row)]
        if self._rows is None:
            connect(m, flipped(self.load), book.load)

        part = data.ArrayLayout(shape, spec.parallel_dims)
        x = Signal(part, name="x_step", reset_less=True)
        with m.If(self.en):
            m.d.sync += x.eq(self._slice(m))
        centroids = data.View(data.ArrayLayout(part, spec.parallel_centroids), book.data)
        distances = []
        for j in range(spec.parallel_centroids):
            m.submodules[f"distance_{j}"] = unit = DistanceUnit(spec.distance, self._fixed(j))
            m.d.comb += [unit.en.eq(self.en), unit.x.eq(x), unit.c.eq(centroids[j])]
            distances.append(unit.o)

        flags = Cat(self.dim == 0, self.dim == spec.dim_steps - 1, self.block_first)
        flags = delay(m, self.en, flags, 1 + spec.distance.latency, name="flags", reset_less=True)
        if spec.dim_steps > 1:
            distances = self._sum_dims(m, distances, flags[0])
            flags = delay(m, self.en, flags, 1, name="flags_summed", reset_less=True)
        entries = [(d, Const(j, spec.index_bits)) for j, d in enumerate(distances)]
        key, number = pick_best(m, self.en, entries, lambda b, a: b < a, name="nearest")
        levels = clog2(spec.parallel_centroids)
        flags = delay(m, self.en, flags, levels, name="flags_nearest", reset_less=True)
        if spec.blocks > 1:
            number = self._best_block(m, key, number, flags[1], flags[2])
        m.d.comb += self.o.eq(number)
        return m

    def _slice(self, m):
        """The dimensions of this step, zeros past the last."""
        spec = self.spec
        part = Signal(
            data.ArrayLayout(element_shape(spec.element), spec.parallel_dims), name="x_slice"
        )
        with m.Switch(self.dim):
            for step in range(spec.dim_steps):
                # The last step is the default, so that no value of ``dim`` is left open.
                with m.Default() if step == spec.dim_steps - 1 else m.Case(step):
                    start = step * spec.parallel_dims
                    for d in range(min(spec.parallel_dims, spec.subvec - start)):
                        m.d.comb += part[d].eq(self.x[start + d])
        return part

    def _sum_dims(self, m, distances, first):
        """Whole distances from those of successive steps; ``first`` marks the first step."""
        sums = []
        for j, distance in enumerate(distances):
            total = Signal(self.spec.whole_distance.output.bits, name=f"sum_{j}", reset_less=True)
            if self.spec.metric == "chebyshev":
                more = Mux(distance >= total, distance, total)
            else:
                more = total + distance
            with m.If(self.en):
                m.d.sync += total.eq(Mux(first, distance, more))
            sums.append(total)
        return sums

    def _best_block(self, m, key, number, whole, first):
        """The running minimum over blocks; ``whole`` marks complete distances, ``first`` the first
        block.
        """
        spec = self.spec
        best_key = Signal.like(key, name="best_key", reset_less=True)
        best = Signal(spec.index_bits, name="best", reset_less=True)
        base = Signal(spec.index_bits, name="block_base", reset_less=True)
        next_base = Signal.like(base, name="block_base_next")
        m.d.comb += next_base.eq(Mux(first, 0, base + spec.parallel_centroids))
        with m.If(self.en & whole):
            m.d.sync += base.eq(next_base)
            with m.If(first | (key < best_key)):
                m.d.sync += [best_key.eq(key), best.eq(next_base + number)]
        return best
