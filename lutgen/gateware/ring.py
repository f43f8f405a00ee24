"""The line buffer: a ring of image rows, and the walk through the windows on it."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.memory import Buffer
from lutgen.gateware.tree import around, position_bits
from lutgen.spec.ring import RingSpec, WalkSpec

__all__ = ["Ledger", "LineBuffer"]


def signed_range(low: int, high: int):
    """The shape of a signed signal for ``low..high``."""
    return signed(1 + max(high.bit_length(), (-low - 1).bit_length() if low < 0 else 0))


class Ledger(wiring.Component):
    """Which pixels of a ring are there and which are free, for windows that are read in order.

    Parameters
    ----------
    ring : RingSpec

    Members
    -------
    space : Out(1)
        A pixel may be begun.
    reserve : In(1)
        One is; only together with ``space``.
    written : In(1)
        One is complete: readable from the next cycle on.
    ready : Out(1)
        All pixels of the window at hand are there.
    finish : In(1)
        The window at hand is read; the next one is at hand in the next cycle, and the pixels that
        it leaves are free one cycle later.
    """

    def __init__(self, ring: RingSpec):
        self.ring = ring
        super().__init__(
            {
                "space": Out(1),
                "reserve": In(1),
                "written": In(1),
                "ready": Out(1),
                "finish": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        ring, pixels = self.ring, self.ring.pixels
        # Both may be below zero: pixels that no window needs count as freed before they come.
        held = Signal(signed_range(-pixels, ring.capacity), name="held")
        ahead = Signal(signed_range(-pixels, ring.capacity + pixels), name="ahead")
        need = Signal(position_bits(pixels), name="need", init=int(ring.needs[0]))
        first = Signal(position_bits(pixels), name="first", init=int(ring.frees[0]))
        release = Signal(range(pixels + 1), name="release")
        next_need, next_first, ends = self._next(m)
        with m.If(self.finish):
            m.d.sync += [need.eq(next_need), first.eq(next_first)]
        m.d.sync += [
            release.eq(Mux(self.finish, next_first + Mux(ends, pixels, 0) - first, 0)),
            held.eq(held + self.reserve - release),
            ahead.eq(ahead + self.written - Mux(self.finish & ends, pixels, 0)),
        ]
        m.d.comb += [self.space.eq(held < ring.capacity), self.ready.eq(ahead > need)]
        return m

    def _next(self, m):
        """``need`` and ``first`` of the window after the one at hand, and whether that one is the
        image's last. Comments at `RingSpec.needs` and `RingSpec.frees`.
        """
        ring, window = self.ring, self.ring.window
        (kh, kw), (down, across) = window.kernel, window.stride
        top, left, _, _ = window.pad
        width = window.width
        count = window.count
        # After a reset the first window is at hand, and these are of the second.
        at_x, at_y = 1 % window.columns, (1 // window.columns) % window.rows
        column = Signal(position_bits(window.columns), name="next_column", init=at_x)
        row = Signal(position_bits(window.rows), name="next_row", init=at_y)
        x = Signal(
            signed_range(-left, (window.columns - 1) * across),
            name="next_x",
            init=at_x * across - left,
        )
        y = Signal(  # in pixels, as an offset into the image
            signed_range(-top * width, (window.rows - 1) * down * width),
            name="next_y",
            init=(at_y * down - top) * width,
        )
        last_column = Signal(name="next_last_column")
        last_row = Signal(name="next_last_row")
        m.d.comb += [
            last_column.eq(column == window.columns - 1),
            last_row.eq(row == window.rows - 1),
        ]
        with m.If(self.finish):
            m.d.sync += [column.eq(column + 1), x.eq(x + across)]
            with m.If(last_column):
                m.d.sync += [column.eq(0), x.eq(-left), row.eq(row + 1), y.eq(y + down * width)]
                with m.If(last_row):
                    m.d.sync += [row.eq(0), y.eq(-top * width)]

        pixel = position_bits(ring.pixels)
        first_x, last_x = (
            Signal(position_bits(width), name="first_x"),
            Signal(position_bits(width), name="last_x"),
        )
        first_y, last_y = Signal(pixel, name="first_y"), Signal(pixel, name="last_y")
        returns = Signal(name="returns")  # to the first row, see `RingSpec.frees`
        m.d.comb += [
            returns.eq((y <= -down * width) & ~last_row),
            first_x.eq(Mux((x < 0) | returns, 0, x)),
            first_y.eq(Mux(y < 0, 0, y)),
            last_x.eq(Mux(x + (kw - 1) < width, x + (kw - 1), width - 1)),
            last_y.eq(
                Mux(
                    y + (kh - 1) * width < ring.pixels,
                    y + (kh - 1) * width,
                    (window.height - 1) * width,
                )
            ),
        ]
        need, first = Signal(pixel, name="next_need"), Signal(pixel, name="next_first")
        ends = Signal(name="image_ends")
        m.d.comb += [
            need.eq(last_y + last_x),
            first.eq(first_y + first_x),
            # The next window is an image's first when the one at hand is an image's last.
            ends.eq((column == 0) & (row == 0) if count > 1 else 1),
        ]
        return need, first, ends


class LineBuffer(wiring.Component):
    """A ring of pixels, each of some words, and the walk through its windows, a word a cycle.

    Parameters
    ----------
    walk : WalkSpec
    width : int
        Bits of a word.

    Members
    -------
    space : Out(1)
        A pixel may be begun.
    reserve : In(1)
        One is; only together with ``space``.
    write : In(1)
        ``word``, the next one of the pixels in order, is written.
    word : In(width)
    ready : Out(1)
        All pixels of the window at hand are there.
    step : In(1)
        The word at hand is read; only while ``ready``.
    pixel_ends, turn_ends, ends : Out(1)
        The word at hand is the last of its pixel in this outer turn, of the outer turn, of the
        window.
    data : Out(width)
        The word that was read in the cycle before.
    outside : Out(1)
        Its pixel lies outside the image, and ``data`` is nothing.
    """

    def __init__(self, walk: WalkSpec, width: int):
        self.walk = walk
        self.width = width
        super().__init__(
            {
                "space": Out(1),
                "reserve": In(1),
                "write": In(1),
                "word": In(width),
                "ready": Out(1),
                "step": In(1),
                "pixel_ends": Out(1),
                "turn_ends": Out(1),
                "ends": Out(1),
                "data": Out(width),
                "outside": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        ring = self.walk.ring
        m.submodules.ledger = ledger = Ledger(ring)
        m.submodules.memory = memory = Buffer(ring.depth, self.width)
        address, outside = self._walk(m)
        row = Signal(position_bits(ring.depth), name="write_row")
        word = Signal(position_bits(ring.words), name="write_word")
        last_word = Signal(name="write_last_word")
        m.d.comb += [
            self.space.eq(ledger.space),
            ledger.reserve.eq(self.reserve),
            last_word.eq(word == ring.words - 1),
            ledger.written.eq(self.write & last_word),
            self.ready.eq(ledger.ready),
            ledger.finish.eq(self.step & self.ends),
            memory.load.en.eq(self.write),
            memory.load.addr.eq(row),
            memory.load.data.eq(self.word),
            # Outside, the address may be no row's, or that of one that is being written.
            memory.en.eq(self.step & ~outside),
            memory.addr.eq(address),
            self.data.eq(memory.data),
        ]
        with m.If(self.write):
            m.d.sync += [
                row.eq(Mux(row == ring.depth - 1, 0, row + 1)),
                word.eq(Mux(last_word, 0, word + 1)),
            ]
        with m.If(self.step):
            m.d.sync += self.outside.eq(outside)
        return m

    def _counter(self, m, count, steps, name):
        """A counter that goes round when ``steps``; gives its last value's mark."""
        value = Signal(position_bits(count), name=name)
        last = Signal(name=f"{name}_last")
        m.d.comb += last.eq(value == count - 1)
        with m.If(steps):
            m.d.sync += value.eq(Mux(last, 0, value + 1))
        return last

    def _walk(self, m):
        """The address of the word at hand, and whether its pixel lies outside the image."""
        walk, ring, window = self.walk, self.walk.ring, self.walk.ring.window
        (kh, kw), (down, across) = window.kernel, window.stride
        top, left, _, _ = window.pad
        line = window.width * ring.words  # words of an image row

        inner = self._counter(m, walk.inner, self.step, "inner")
        moves_x, moves_y = Signal(name="moves_x"), Signal(name="moves_y")
        m.d.comb += [self.pixel_ends.eq(inner), moves_x.eq(self.step & inner)]
        tap_x = self._counter(m, kw, moves_x, "tap_x")
        m.d.comb += moves_y.eq(moves_x & tap_x)
        tap_y = self._counter(m, kh, moves_y, "tap_y")
        turns = Signal(name="turns")
        m.d.comb += [self.turn_ends.eq(inner & tap_x & tap_y), turns.eq(self.step & self.turn_ends)]
        outer = self._counter(m, walk.outer, turns, "outer")
        finish = Signal(name="finish")
        m.d.comb += [self.ends.eq(self.turn_ends & outer), finish.eq(self.step & self.ends)]
        column = self._counter(m, window.columns, finish, "column")
        row = self._counter(m, window.rows, finish & column, "row")

        # Where the window at hand begins, in the image and in the ring.
        x0 = Signal(signed_range(-left, (window.columns - 1) * across), name="x0", init=-left)
        y0 = Signal(signed_range(-top, (window.rows - 1) * down), name="y0", init=-top)
        base0 = Signal(position_bits(ring.depth), name="base0", init=-top * line % ring.depth)
        begin, step = -left * ring.words, across * ring.words
        reach = ((window.columns - 1) * across + kw) * ring.words
        offset0 = Signal(signed_range(begin, reach), name="offset0", init=begin)
        offset0_next = Signal.like(offset0, name="offset0_next")
        x0_next, y0_next = Signal.like(x0, name="x0_next"), Signal.like(y0, name="y0_next")
        base0_next = Signal.like(base0, name="base0_next")
        m.d.comb += [x0_next.eq(x0), y0_next.eq(y0), base0_next.eq(base0)]
        m.d.comb += offset0_next.eq(offset0)
        with m.If(finish):
            m.d.comb += [x0_next.eq(x0 + across), offset0_next.eq(offset0 + step)]
            with m.If(column):
                to_next_image = window.height - (window.rows - 1) * down
                m.d.comb += [
                    x0_next.eq(-left),
                    offset0_next.eq(begin),
                    y0_next.eq(Mux(row, -top, y0 + down)),
                    base0_next.eq(
                        Mux(
                            row,
                            around(base0, to_next_image * line, ring.depth),
                            around(base0, down * line, ring.depth),
                        )
                    ),
                ]
        m.d.sync += [x0.eq(x0_next), y0.eq(y0_next), base0.eq(base0_next)]
        m.d.sync += offset0.eq(offset0_next)

        # Where the word at hand lies: the ring's row, and the word in it.
        x = Signal(
            signed_range(-left, (window.columns - 1) * across + kw - 1), name="x", init=-left
        )
        y = Signal(signed_range(-top, (window.rows - 1) * down + kh - 1), name="y", init=-top)
        base = Signal.like(base0, name="base", init=-top * line % ring.depth)
        offset = Signal.like(offset0, name="offset", init=begin)
        word, word_next = self._turn_word(m, turns, outer)
        with m.If(self.step):
            m.d.sync += offset.eq(offset + 1 + Mux(inner, ring.words - walk.inner, 0))
        with m.If(moves_x):
            m.d.sync += x.eq(x + 1)
        with m.If(moves_y):
            m.d.sync += [x.eq(x0), y.eq(y + 1), base.eq(around(base, line, ring.depth))]
            m.d.sync += offset.eq(offset0 + word)
        with m.If(turns):
            m.d.sync += [y.eq(y0_next), base.eq(base0_next), x.eq(x0_next)]
            m.d.sync += offset.eq(offset0_next + word_next)
        address = Signal(position_bits(ring.depth), name="address")
        outside = Signal(name="word_outside")
        m.d.comb += address.eq(base + offset)
        if any(window.pad):  # else nothing is, and the counters are not needed
            m.d.comb += outside.eq((x < 0) | (x >= window.width) | (y < 0) | (y >= window.height))
        return address, outside

    def _turn_word(self, m, turns, outer):
        """The word of a pixel that this outer turn reads first, and the next one."""
        walk = self.walk
        if not walk.apart or walk.outer == 1:
            return 0, 0
        word = Signal(position_bits(walk.outer), name="turn_word")
        following = Signal.like(word, name="turn_word_next")
        m.d.comb += following.eq(Mux(outer, 0, word + 1))
        with m.If(turns):
            m.d.sync += word.eq(following)
        return word, following
