"""Whole windows in registers, and encoders as a stage of their own."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.distance import element_shape
from lutgen.gateware.encoders import Encoders
from lutgen.gateware.fifo import Pushes
from lutgen.gateware.linear import Memories, element_items
from lutgen.gateware.memory import Buffer
from lutgen.gateware.ring import Ledger, signed_range
from lutgen.gateware.stream import Regrouper
from lutgen.gateware.tree import around, delay, position_bits
from lutgen.spec.slide import EncodeSpec, SlideSpec

__all__ = ["EncodeStage", "SlideStage"]


class EncodeStage(wiring.Component):
    """Pixels to groups of indices.

    Parameters
    ----------
    spec : EncodeSpec
    i_lanes : int
        Elements of an input beat; they divide a pixel's.
    contents : Memories or None
        None for RAMs.

    Members
    -------
    i : In(stream)
    o : Out(Pushes)
        ``fan_in`` indices.
    load_codebook_0.. : In(TablePort)
        RAMs only.
    """

    def __init__(self, spec: EncodeSpec, i_lanes: int, contents: Memories | None):
        self.spec = spec
        self.i_lanes = i_lanes
        row = spec.row
        books = contents.codebooks if contents else [None] * (row.fan_in * row.has_encoders)
        self.encoders = Encoders(row, books)
        elements = data.ArrayLayout(element_shape(row.element), i_lanes)
        members = {
            "i": In(stream.Signature(elements)),
            "o": Out(Pushes(data.ArrayLayout(row.index_bits, row.fan_in))),
        }
        self._loads = {
            name: member
            for name, member in self.encoders.signature.members.items()
            if name.startswith("load_")
        }
        super().__init__(members | self._loads)

    @property
    def rams(self) -> list[tuple[str, int, int]]:
        """See `lutgen.gateware.linear.LookupStage.rams`."""
        return [
            (name.removeprefix("load_"), member.signature.depth, member.signature.width)
            for name, member in self._loads.items()
        ]

    def elaborate(self, platform):
        m = Module()
        row, encoders = self.spec.row, self.encoders
        m.submodules.encoders = encoders
        for name in self._loads:
            connect(m, flipped(getattr(self, name)), getattr(encoders, name))
        spec = self.spec.regrouper(self.i_lanes)
        m.submodules.regroup = regroup = Regrouper(spec, row.item_bits)
        elements = [self.i.p[lane] for lane in range(self.i_lanes)]
        may, step = Signal(name="may"), Signal(name="step")
        m.d.comb += [
            regroup.i.valid.eq(self.i.valid),
            self.i.ready.eq(regroup.i.ready),
            regroup.i.p.as_value().eq(element_items(m, row, elements)),
            may.eq(self.o.space | ~encoders.first_step),
            step.eq(regroup.o.valid & may),
            encoders.valid.eq(step),
            encoders.items.eq(regroup.o.p.data.as_value()),
            encoders.last.eq(regroup.o.p.last),
            regroup.o.ready.eq(may & encoders.last_step),
            self.o.reserve.eq(step & encoders.first_step),
            self.o.valid.eq(encoders.o_valid),
            self.o.p.as_value().eq(encoders.o),
        ]
        return m


class SlideStage(wiring.Component):
    """Windows, one a beat; see `SlideSpec`.

    Parameters
    ----------
    spec : SlideSpec
    i_lanes : int
        Elements of an input beat.

    Members
    -------
    i : In(stream)
    o : Out(Pushes)
        All elements of a window.
    """

    def __init__(self, spec: SlideSpec, i_lanes: int):
        self.spec = spec
        self.i_lanes = i_lanes
        i = data.ArrayLayout(element_shape(spec.element), i_lanes)
        o = data.ArrayLayout(element_shape(spec.result), spec.elements)
        super().__init__({"i": In(stream.Signature(i)), "o": Out(Pushes(o))})

    def elaborate(self, platform):
        m = Module()
        spec, window, ring = self.spec, self.spec.window, self.spec.ring
        m.submodules.ledger = ledger = Ledger(ring)
        banks = []
        for number in range(ring.rows):
            # A column is read from all of them, but not all of them hold rows of the window.
            bank = Buffer(window.width, spec.word_bits, spare=True)
            m.submodules[f"row_{number}"] = bank
            banks.append(bank)
        self._write(m, ledger, banks)

        # A column a cycle: all of a row's first window, then only those that are new.
        fresh = window.kernel[1] - spec.reads
        tap = Signal(position_bits(window.kernel[1]), name="tap_x")
        begun, step = Signal(name="window_begun"), Signal(name="step")
        last_tap, finish = Signal(name="last_tap"), Signal(name="finish")
        last_column, last_row = self._windows(m, finish)
        m.d.comb += [
            step.eq(begun | (ledger.ready & self.o.space)),
            self.o.reserve.eq(step & ~begun),
            last_tap.eq(tap == window.kernel[1] - 1),
            finish.eq(step & last_tap),
            ledger.finish.eq(finish),
        ]
        with m.If(step):
            m.d.sync += [begun.eq(~last_tap), tap.eq(tap + 1)]
            with m.If(last_tap):
                m.d.sync += tap.eq(Mux(last_column, 0, fresh))
        x, y, bank0 = self._origin(m, finish, last_column, last_row)
        at = Signal(signed_range(-window.pad[1], window.padded[1] + window.stride[1]), name="x")
        beside = Signal(name="beside_the_image")
        m.d.comb += [at.eq(x + tap), beside.eq((at < 0) | (at >= window.width))]
        for bank in banks:
            m.d.comb += [bank.en.eq(step & ~beside), bank.addr.eq(at)]
        self._shift(m, step, finish, beside, y, bank0, banks)
        return m

    def _write(self, m, ledger, banks):
        """Pixels into the memories of their rows, row after row."""
        spec, window = self.spec, self.spec.window
        m.submodules.regroup = regroup = Regrouper(spec.regrouper(self.i_lanes), spec.element.bits)
        column = Signal(position_bits(window.width), name="write_column")
        row = Signal(position_bits(len(banks)), name="write_row")
        last = Signal(name="write_last_column")
        writes = Signal(name="pixel_moves")
        m.d.comb += [
            regroup.i.valid.eq(self.i.valid),
            self.i.ready.eq(regroup.i.ready),
            regroup.i.p.as_value().eq(self.i.p.as_value()),
            regroup.o.ready.eq(ledger.space),
            writes.eq(regroup.o.valid & ledger.space),
            ledger.reserve.eq(writes),
            ledger.written.eq(writes),
            last.eq(column == window.width - 1),
        ]
        with m.If(writes):
            m.d.sync += column.eq(Mux(last, 0, column + 1))
            with m.If(last):
                m.d.sync += row.eq(Mux(row == len(banks) - 1, 0, row + 1))
        for number, bank in enumerate(banks):
            m.d.comb += [
                bank.load.en.eq(writes & (row == number)),
                bank.load.addr.eq(column),
                bank.load.data.eq(regroup.o.p.data.as_value()),
            ]

    def _windows(self, m, finish):
        """Whether the window at hand is the last of its row, of its image."""
        window = self.spec.window
        column = Signal(position_bits(window.columns), name="column")
        row = Signal(position_bits(window.rows), name="row")
        last_column, last_row = Signal(name="last_column"), Signal(name="last_row")
        m.d.comb += [
            last_column.eq(column == window.columns - 1),
            last_row.eq(row == window.rows - 1),
        ]
        with m.If(finish):
            m.d.sync += column.eq(Mux(last_column, 0, column + 1))
            with m.If(last_column):
                m.d.sync += row.eq(Mux(last_row, 0, row + 1))
        return last_column, last_row

    def _origin(self, m, finish, last_column, last_row):
        """Where the window at hand begins, and the memory of its first row."""
        window, rows = self.spec.window, self.spec.ring.rows
        down, across = window.stride
        top, left, _, _ = window.pad
        x = Signal(signed_range(-left, (window.columns - 1) * across), name="x0", init=-left)
        y = Signal(signed_range(-top, (window.rows - 1) * down), name="y0", init=-top)
        bank = Signal(position_bits(rows), name="bank0", init=-top % rows)
        within, between = down, window.height - (window.rows - 1) * down
        with m.If(finish):
            m.d.sync += x.eq(x + across)
            with m.If(last_column):
                m.d.sync += [
                    x.eq(-left),
                    y.eq(Mux(last_row, -top, y + down)),
                    bank.eq(Mux(last_row, around(bank, between, rows), around(bank, within, rows))),
                ]
        return x, y, bank

    def _shift(self, m, step, finish, beside, y, bank0, banks):
        """The column that was read joins those before it; after the last the window goes out."""
        spec, window = self.spec, self.spec.window
        kernel_rows, kernel_columns = window.kernel
        there = delay(m, None, step, 1, name="column_there")
        words = Array(bank.data for bank in banks)
        width = spec.word_bits + spec.marked
        column = []
        for row in range(kernel_rows):
            outside = Signal(name=f"outside_{row}")
            m.d.comb += outside.eq(beside | (y + row < 0) | (y + row >= window.height))
            outside = delay(m, None, outside, 1, name=f"outside_{row}_at", reset_less=True)
            number = Signal.like(bank0, name=f"bank_{row}")
            m.d.comb += number.eq(around(bank0, row, len(banks)))
            number = delay(m, None, number, 1, name=f"bank_{row}_at", reset_less=True)
            word = Signal(spec.word_bits, name=f"word_{row}")
            m.d.comb += word.eq(words[number])
            whole = Signal(width, name=f"pixel_{row}")
            if spec.marked:
                m.d.comb += whole.eq(Cat(word, outside))
            else:
                m.d.comb += whole.eq(Mux(outside, 0, word))
            column.append(whole)
        columns = [column]  # the newest first
        for back in range(kernel_columns):
            kept = []
            for row, newer in enumerate(columns[-1]):
                pixel = Signal(width, name=f"pixel_{row}_{back}", reset_less=True)
                with m.If(there):
                    m.d.sync += pixel.eq(newer)
                kept.append(pixel)
            columns.append(kept)
        m.d.comb += self.o.valid.eq(delay(m, None, finish, 2, name="window_there"))
        bits = spec.element.bits
        for row in range(kernel_rows):
            for x in range(kernel_columns):
                pixel = columns[kernel_columns - x][row]
                for channel in range(spec.channels):
                    element = pixel[channel * bits : (channel + 1) * bits]
                    if spec.marked:
                        element = Cat(element, pixel[-1])
                    m.d.comb += self.o.p[spec.place(row, x, channel)].eq(
                        element.as_signed() if spec.result.signed else element
                    )
