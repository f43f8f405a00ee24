"""Convolution stages: a line buffer of activations, or one of indices."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.distance import element_shape
from lutgen.gateware.index_buffer import Sequencer
from lutgen.gateware.linear import LookupStage, Memories
from lutgen.gateware.ring import LineBuffer
from lutgen.gateware.stream import Regrouper
from lutgen.gateware.tree import delay, position_bits
from lutgen.spec.conv import Conv2dSpec, FeederSpec

__all__ = ["PixelStage", "WindowFeeder", "WindowStage", "write_words"]


def write_words(m, i, spec, lanes: int, bits: int, lines: LineBuffer):
    """Writes beats of ``lanes`` elements of ``bits`` bits into a line buffer of activations, word
    by word; a pixel begins when there is space for it.

    Parameters
    ----------
    spec : Conv2dSpec or PoolSpec
    """
    m.submodules.regroup = regroup = Regrouper(spec.regrouper(lanes), bits)
    word = Signal(position_bits(spec.ring.words), name="word_in_pixel")
    go, writes = Signal(name="word_may"), Signal(name="word_moves")
    m.d.comb += [
        regroup.i.valid.eq(i.valid),
        i.ready.eq(regroup.i.ready),
        regroup.i.p.as_value().eq(Cat(i.p[lane] for lane in range(lanes))),
        go.eq((word != 0) | lines.space),
        regroup.o.ready.eq(go),
        writes.eq(regroup.o.valid & go),
        lines.reserve.eq(writes & (word == 0)),
        lines.write.eq(writes),
        lines.word.eq(regroup.o.p.data.as_value()),
    ]
    with m.If(writes):
        m.d.sync += word.eq(Mux(word == spec.ring.words - 1, 0, word + 1))


class WindowFeeder(wiring.Component):
    """Reads windows from a line buffer and gives them to the encoders; see `FeederSpec`.

    Parameters
    ----------
    spec : FeederSpec
    word_bits : int
        Width of a word.
    expand : callable(m, word) -> Value
        A word as items of ``spec.items`` times ``item_bits`` bits.
    item_bits : int

    Members
    -------
    begin : In(1)
        A window may begin.
    begins : Out(1)
        One does.
    step : Out(1)
        The line buffer's next word is read.
    word : In
        What was read in the cycle before.
    outside : In(1)
        It is nothing.
    valid, last, items : Out
        A group for the encoders.
    next : In(1)
        It is in its last step.
    """

    def __init__(self, spec: FeederSpec, word_bits: int, expand, item_bits: int):
        self.spec = spec
        self._expand = expand
        self._item_bits = item_bits
        super().__init__(
            {
                "begin": In(1),
                "begins": Out(1),
                "step": Out(1),
                "word": In(word_bits),
                "outside": In(1),
                "valid": Out(1),
                "last": Out(1),
                "items": Out(spec.group * item_bits),
                "next": In(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        phase = Signal(position_bits(spec.period), name="phase")
        block = Signal(position_bits(spec.blocks), name="block")
        go, at_start = Signal(name="go"), Signal(name="at_start")
        last_block = Signal(name="last_block")
        m.d.comb += [
            at_start.eq((phase == 0) & (block == 0)),
            go.eq(~at_start | self.begin),
            self.begins.eq(at_start & self.begin),
            last_block.eq(block == spec.blocks - 1),
            self.step.eq(go & (phase < Mux(last_block, spec.last_reads, spec.reads))),
        ]
        with m.If(go):
            m.d.sync += phase.eq(phase + 1)
            with m.If(phase == spec.period - 1):
                m.d.sync += [phase.eq(0), block.eq(Mux(last_block, 0, block + 1))]

        # One cycle later, with the word.
        went = delay(m, None, go, 1, name="went")
        stepped = delay(m, None, self.step, 1, name="stepped", reset_less=True)
        at = delay(m, None, phase, 1, name="phase_at", reset_less=True)
        ends_window = delay(m, None, last_block, 1, name="last_block_at", reset_less=True)
        items = Signal(spec.items * self._item_bits, name="word_items")
        m.d.comb += items.eq(Mux(stepped & ~self.outside, self._expand(m, self.word), 0))
        load = Signal(name="block_complete")
        m.d.comb += load.eq(went & (at == spec.reads - 1))
        self._emit(m, load, self._block(m, went, at, items), ends_window)
        return m

    def _block(self, m, went, at, items):
        """The block's items in order, in the cycle when its last word is there."""
        spec, bits = self.spec, self._item_bits
        block = Signal(spec.groups * spec.group * bits, name="block_items")
        for read in range(spec.reads):
            word = items
            if read < spec.reads - 1:
                word = Signal.like(items, name=f"word_{read}", reset_less=True)
                with m.If(went & (at == read)):
                    m.d.sync += word.eq(items)
            for item in range(spec.items):
                place = spec.place(read, item)
                m.d.comb += block.word_select(place, bits).eq(word.word_select(item, bits))
        return block

    def _emit(self, m, load, block, ends_window):
        """Holds a block while its groups go out, lowest first."""
        spec = self.spec
        width = spec.group * self._item_bits
        held = Signal.like(block, name="held", reset_less=True)
        left = Signal(range(spec.groups + 1), name="groups_left")
        last = Signal(name="held_last", reset_less=True)
        with m.If(self.next & self.valid):
            m.d.sync += [held.eq(held >> width), left.eq(left - 1)]
        with m.If(load):
            m.d.sync += [held.eq(block), left.eq(spec.groups), last.eq(ends_window)]
        m.d.comb += [
            self.valid.eq(left != 0),
            self.items.eq(held[:width]),
            self.last.eq(last & (left == 1)),
        ]


class WindowStage(LookupStage):
    """A convolution that encodes every window: a line buffer of activations, and a linear stage on
    its windows.

    Once a window has begun, its reads, encodings and lookups follow a fixed schedule, up to the
    index buffer where there is one.

    Parameters
    ----------
    spec : Conv2dSpec
    i_lanes, contents
        See `LookupStage`, as for the members.
    """

    def __init__(self, spec: Conv2dSpec, i_lanes: int, contents: Memories | None):
        self.spec = spec
        super().__init__(spec.row, i_lanes, contents)

    def elaborate(self, platform):
        m = Module()
        spec, encoders = self.spec, self.encoders
        self.parts(m)
        m.submodules.lines = lines = LineBuffer(spec.walk, spec.word_bits)
        write_words(m, self.i, spec, self.i_lanes, spec.element.bits, lines)
        m.submodules.feeder = feeder = WindowFeeder(
            spec.feeder, spec.word_bits, self._expand, self.row.item_bits
        )
        room = self.keep_rows(m, feeder.begins, feeder.begins)
        m.d.comb += [
            feeder.begin.eq(lines.ready & room),
            lines.step.eq(feeder.step),
            feeder.word.eq(lines.data),
            feeder.outside.eq(lines.outside),
            encoders.valid.eq(feeder.valid),
            encoders.items.eq(feeder.items),
            encoders.last.eq(feeder.last),
            feeder.next.eq(encoders.last_step),
        ]
        return m

    def _expand(self, m, word):
        layout = data.ArrayLayout(element_shape(self.spec.element), self.spec.word)
        elements = data.View(layout, word)
        return self.items(m, [elements[k] for k in range(self.spec.word)])


class PixelStage(LookupStage):
    """A convolution that encodes every pixel once: a line buffer of indices, read by all windows.

    Parameters
    ----------
    spec : Conv2dSpec
    i_lanes, contents
        See `LookupStage`, as for the members. ``i_lanes`` divide the channels.
    """

    def __init__(self, spec: Conv2dSpec, i_lanes: int, contents: Memories | None):
        self.spec = spec
        super().__init__(spec.row, i_lanes, contents)

    def elaborate(self, platform):
        m = Module()
        row, encoders, matcher = self.row, self.encoders, self.matcher
        self.parts(m)
        m.submodules.lines = lines = LineBuffer(self.spec.walk, self.spec.word_bits)
        group = self.regroup(m, self.spec.regrouper(self.i_lanes))
        first_group = Signal(init=1, name="first_group")
        may, step = Signal(name="group_may"), Signal(name="step")
        m.d.comb += [
            may.eq(lines.space | ~(first_group & encoders.first_step)),
            step.eq(group.valid & may),
            encoders.valid.eq(step),
            encoders.items.eq(group.p.data.as_value()),
            encoders.last.eq(group.p.last),
            group.ready.eq(may & encoders.last_step),
            lines.reserve.eq(step & encoders.first_step & first_group),
            lines.write.eq(encoders.o_valid),
            lines.word.eq(encoders.o),
        ]
        with m.If(step & encoders.last_step):
            m.d.sync += first_group.eq(group.p.last)

        m.submodules.sequencer = sequencer = Sequencer(row)
        looks = Signal(name="looks_up")
        m.d.comb += [
            looks.eq(lines.ready & (self.o.space | ~lines.turn_ends)),
            lines.step.eq(looks),
            sequencer.step.eq(looks),
            self.o.reserve.eq(looks & lines.turn_ends),
            matcher.valid.eq(delay(m, None, looks, 1, name="looked_up")),
            matcher.lookup.eq(delay(m, None, sequencer.o, 1, name="lookup_at", reset_less=True)),
            matcher.lookup.short.eq(
                delay(m, None, lines.pixel_ends, 1, name="short_at", reset_less=True)
            ),
            matcher.lookup.empty.eq(lines.outside),
            matcher.indices.eq(lines.data),
        ]
        return m
