"""The line buffer: every word that is read is the one of its window, and no address is past the
last row.
"""

from amaranth.hdl import Array, Assert, Assume, Mux, Signal, signed

from lutgen.formal.harness import Inside, Proof, implies
from lutgen.formal.ring import ledger_states
from lutgen.gateware.ring import LineBuffer
from lutgen.spec.ring import WalkSpec

__all__ = ["LineBufferProof"]


def reads(walk: WalkSpec) -> list[tuple[int, ...]]:
    """Of each read of an image, in order: window, outer turn, tap and word of its pixel, from the
    definition.
    """
    window = walk.ring.window
    return [
        (number, outer, y, x, word)
        for number in range(window.count)
        for outer in range(walk.outer)
        for y in range(window.kernel[0])
        for x in range(window.kernel[1])
        for word in ([outer] if walk.apart else range(walk.inner))
    ]


class LineBufferProof(Proof):
    """A writer that begins pixels while there is space and writes their words in order, at any
    time; a reader that reads words of windows that are ready, at any time.

    That no row is read while it is written, and that all addresses are those of rows, is what the
    memory relies on: it is among the assertions of every proof.

    Parameters
    ----------
    walk : WalkSpec
    part : type
        `LineBuffer`, or one with a mistake in it.
    """

    def __init__(self, walk: WalkSpec, part: type = LineBuffer):
        self.walk = walk
        self.part = part
        super().__init__({"reserve": 1, "write": 1, "word": 1, "step": 1})

    def build(self, m):
        walk, ring = self.walk, self.walk.ring
        lines = self.part(walk, 1)
        inside = Inside(m, lines)
        pixels, order = ring.pixels, reads(walk)
        wide = signed((pixels + ring.capacity).bit_length() + 2)
        begun, written = Signal(wide), Signal(wide)  # pixels, from the first of the image at hand
        word, at = Signal(range(ring.words + 1)), Signal(range(len(order) + 1))
        origin = Signal(range(ring.depth + 1))  # where the image at hand begins in the memory
        whole, image_ends = Signal(), Signal()
        leaves = Mux(image_ends, pixels, 0)
        m.d.comb += [
            lines.reserve.eq(self.reserve),
            lines.write.eq(self.write),
            lines.word.eq(self.word),
            lines.step.eq(self.step),
            whole.eq(self.write & (word == ring.words - 1)),
            image_ends.eq(self.step & (at == len(order) - 1)),
            Assume(implies(self.reserve, lines.space)),
            Assume(implies(self.write, (begun > written) | self.reserve)),
            Assume(implies(self.step, lines.ready)),
        ]
        m.d.sync += [
            begun.eq(begun + self.reserve - leaves),
            written.eq(written + whole - leaves),
            word.eq(Mux(whole, 0, word + self.write)),
        ]
        with m.If(self.step):
            m.d.sync += at.eq(Mux(image_ends, 0, at + 1))
        with m.If(image_ends):
            m.d.sync += origin.eq(self._place(origin, pixels * ring.words % ring.depth))
        window = Signal(range(ring.window.count))
        m.d.comb += [
            window.eq(Array(number for number, *_ in order)[at]),
            Assert(at < len(order)),
            # Images begin where rows of pixels do.
            Assert(origin.matches(*range(0, ring.depth, ring.depth // ring.rows))),
            Assert(word < ring.words),
            Assert(implies(word != 0, begun > written)),
        ]
        ledger_states(m, ring, lambda name: inside(name, "ledger"), begun, written, window)
        self._writing(m, inside, origin, written, word)
        self._reading(m, inside, order, origin, at)

    def _place(self, start, offset):
        """``start + offset`` around the memory, both below its rows."""
        depth = self.walk.ring.depth
        return Mux(start + offset >= depth, start + offset - depth, start + offset)

    def _writing(self, m, inside, origin, written, word):
        """Where the next word goes, from the pixels that are there."""
        ring = self.walk.ring
        starts = [
            (pixel * ring.words) % ring.depth
            for pixel in range(-ring.pixels, ring.capacity + ring.pixels + 1)
        ]
        first, place = Signal(range(2 * ring.depth)), Signal(range(2 * ring.depth))
        m.d.comb += [
            first.eq(self._place(origin, Array(starts)[written + ring.pixels])),
            place.eq(first + word),
            Assert(place < ring.depth),
            Assert(inside("write_row") == place),
            Assert(inside("write_word") == word),
        ]

    def _reading(self, m, inside, order, origin, at):
        """Every counter follows from the read at hand; so does where its word stands."""
        walk, ring, window = self.walk, self.walk.ring, self.walk.ring.window
        top, left, _, _ = window.pad
        line = window.width * ring.words
        begin, across = -left * ring.words, window.stride[1] * ring.words
        values = {name: [] for name in ("x0", "y0", "offset0", "x", "y", "offset")}
        values |= {name: [] for name in ("inner", "tap_x", "tap_y", "outer", "column", "row")}
        base0, base, place, outside = [], [], [], []
        for number, outer, tap_y, tap_x, word in order:
            row, column = divmod(number, window.columns)
            x0, y0 = column * window.stride[1] - left, row * window.stride[0] - top
            x, y = x0 + tap_x, y0 + tap_y
            offset0 = begin + column * across
            here = {"x0": x0, "y0": y0, "offset0": offset0, "x": x, "y": y}
            here |= {"offset": offset0 + tap_x * ring.words + word, "column": column, "row": row}
            here |= {"inner": 0 if walk.apart else word, "outer": outer}
            for name, value in (here | {"tap_x": tap_x, "tap_y": tap_y}).items():
                values[name].append(value)
            base0.append(y0 * line % ring.depth)
            base.append(y * line % ring.depth)
            place.append(((y * window.width + x) * ring.words + word) % ring.depth)
            outside.append(not (0 <= x < window.width and 0 <= y < window.height))
        for name, column in values.items():
            m.d.comb += Assert(inside(name) == Array(column)[at])
        if walk.apart and walk.outer > 1:
            m.d.comb += Assert(inside("turn_word") == inside("outer"))
        gone = Array(map(int, outside))[at]
        m.d.comb += [
            Assert(inside("base0") == self._place(origin, Array(base0)[at])),
            Assert(inside("base") == self._place(origin, Array(base)[at])),
            Assert(inside("word_outside") == gone if any(window.pad) else ~gone),
            Assert(implies(~gone, inside("address") == self._place(origin, Array(place)[at]))),
        ]
