"""The line buffer's ledger: a window that is ready is there, and no pixel that is still needed is
overwritten.
"""

from itertools import product

from amaranth.hdl import Array, Assert, Assume, Mux, Signal, signed

from lutgen.formal.harness import Inside, Proof, implies
from lutgen.gateware.ring import Ledger
from lutgen.spec.ring import RingSpec
from lutgen.spec.window import WindowSpec

__all__ = ["LedgerProof", "first_and_last", "ledger_states"]


def first_and_last(window: WindowSpec) -> list[tuple[int, int]]:
    """The first and the last pixel of the image in every window, from the definition."""
    top, left, _, _ = window.pad
    pairs = []
    for row, column in product(range(window.rows), range(window.columns)):
        pixels = [
            y * window.width + x
            for y in range(row * window.stride[0] - top, window.height)
            for x in range(column * window.stride[1] - left, window.width)
            if y < row * window.stride[0] - top + window.kernel[0]
            and x < column * window.stride[1] - left + window.kernel[1]
            and y >= 0
            and x >= 0
        ]
        pairs.append((min(pixels), max(pixels)))
    return pairs


class LedgerProof(Proof):
    """A writer that begins pixels while there is space and completes them in order, at any time; a
    reader that finishes windows that are ready, at any time.

    Pixels are counted from the first one of the image whose window is at hand.

    Parameters
    ----------
    ring : RingSpec
    part : type
        `Ledger`, or one with a mistake in it.
    """

    def __init__(self, ring: RingSpec, part: type = Ledger):
        self.ring = ring
        self.part = part
        super().__init__({"reserve": 1, "written": 1, "finish": 1})

    def build(self, m):
        ring, pixels = self.ring, self.ring.pixels
        ledger = self.part(ring)
        inside = Inside(m, ledger)
        count = ring.window.count
        wide = signed((pixels + ring.capacity).bit_length() + 2)
        begun, written = Signal(wide), Signal(wide)
        window = Signal(range(count + 1))
        ends = window == count - 1
        leaves = Mux(self.finish & ends, pixels, 0)
        m.d.comb += [
            ledger.reserve.eq(self.reserve),
            ledger.written.eq(self.written),
            ledger.finish.eq(self.finish),
            Assume(implies(self.reserve, ledger.space)),
            Assume(implies(self.written, (begun > written) | self.reserve)),
            Assume(implies(self.finish, ledger.ready)),
        ]
        m.d.sync += [
            begun.eq(begun + self.reserve - leaves),
            written.eq(written + self.written - leaves),
        ]
        with m.If(self.finish):
            m.d.sync += window.eq(Mux(ends, 0, window + 1))

        pairs = first_and_last(ring.window)
        # What this window or one after it needs; the next image's lie behind this one's.
        keep = [min([pixels, *(first for first, _ in pairs[w:])]) for w in range(count)]
        need = Array(last for _, last in pairs)[window]
        m.d.comb += [
            # All of its pixels are there, and as soon as they are.
            Assert(ledger.ready == (written > need)),
            # A pixel takes the place of the one that a ring's capacity lies before it.
            Assert(implies(self.reserve, begun - ring.capacity < Array(keep)[window])),
            # Progress: who waits for a window may write on.
            Assert(
                implies((begun == written) & ~ledger.ready & ~inside("release").any(), ledger.space)
            ),
        ]
        ledger_states(m, ring, inside, begun, written, window)


def ledger_states(m, ring: RingSpec, inside, begun, written, window):
    """Which states can come about: every counter follows from the window at hand."""
    size = ring.window
    width, pixels = size.width, ring.pixels
    frees, needs = Array(ring.frees[:-1].tolist()), Array(ring.needs.tolist())
    after = [(w + 1) % size.count for w in range(size.count)]
    column = [w % size.columns for w in after]
    row = [w // size.columns for w in after]
    top, left, _, _ = size.pad
    held, release = inside("held"), inside("release")
    m.d.comb += [
        Assert(window < size.count),
        Assert(inside("ahead") == written),
        Assert(held == begun - frees[window] + release),
        Assert((held <= ring.capacity) & (held >= -pixels)),
        Assert((written <= begun) & (written >= -pixels)),
        Assert(inside("need") == needs[window]),
        Assert(inside("first") == frees[window]),
        Assert(inside("next_column") == Array(column)[window]),
        Assert(inside("next_row") == Array(row)[window]),
        Assert(inside("next_x") == Array(c * size.stride[1] - left for c in column)[window]),
        Assert(inside("next_y") == Array((r * size.stride[0] - top) * width for r in row)[window]),
    ]
