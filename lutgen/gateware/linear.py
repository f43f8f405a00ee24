"""The linear stage: encoders, index buffer, matcher, put together as `LinearSpec` folds them."""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.distance import element_shape
from lutgen.gateware.encoders import Encoders
from lutgen.gateware.fifo import Pushes
from lutgen.gateware.index_buffer import IndexBuffer, Sequencer
from lutgen.gateware.matcher import Matcher
from lutgen.gateware.stream import Regrouper
from lutgen.gateware.tree import pack_rows
from lutgen.spec.linear import LinearSpec
from lutgen.spec.stream import RegrouperSpec

__all__ = ["LinearStage", "LookupStage", "Memories", "element_items"]


@dataclass(frozen=True)
class Memories:
    """Packed contents of a stage's memories, in the order in which the loader fills them.

    Attributes
    ----------
    codebooks, banks : list of list of int
        Rows of each of the ``fan_in`` memories; ``codebooks`` is empty for digit layers.
    bias : list of int
    """

    codebooks: list[list[int]]
    banks: list[list[int]]
    bias: list[int]

    @classmethod
    def pack(cls, spec: LinearSpec, codebooks, table, bias) -> "Memories":
        """From a layer's arrays: ``[g, c, v]`` (None for digit layers), ``[g, c, n]`` (one more
        axis, or two, for taps), ``[n]``; without a table only the codebooks.
        """
        books = [] if codebooks is None else spec.codebook_rows(codebooks)
        if table is None:
            return cls([pack_rows(rows, spec.element.bits) for rows in books], [], [])
        # A bias that its sums alone fit wraps, as partial sums do: modulo the accumulator's range.
        biases = np.asarray(spec.bias_rows(bias)) & ((1 << spec.acc.bits) - 1)
        return cls(
            [pack_rows(rows, spec.element.bits) for rows in books],
            [pack_rows(rows, spec.grid.bits) for rows in spec.bank_rows(table)],
            pack_rows(biases, spec.acc.bits),
        )


def element_items(m, spec: LinearSpec, elements):
    """Elements as the items that sub-vectors are made of: themselves, or their digits."""
    if spec.metric != "digit":
        return Cat(elements)
    wide = spec.items_per_element * spec.index_bits
    shape = signed(wide) if spec.element.signed else unsigned(wide)
    digits = [Signal(shape, name=f"digits_{k}") for k in range(len(elements))]
    m.d.comb += [d.eq(e) for d, e in zip(digits, elements, strict=True)]
    return Cat(digits)


class LookupStage(wiring.Component):
    """What all lookup stages have: encoders, a matcher, and their memories.

    Parameters
    ----------
    spec : LinearSpec
        The layer on one row.
    i_lanes : int
        Elements of an input beat.
    contents : Memories or None
        None for RAMs, filled through their load ports.

    Members
    -------
    i : In(stream)
        ``i_lanes`` elements.
    o : Out(Pushes)
        ``spec.lanes`` results.
    load_codebook_0.., load_table_0.., load_bias : In(TablePort)
        RAMs only; `rams` gives their order.
    """

    def __init__(self, spec: LinearSpec, i_lanes: int, contents: Memories | None):
        self.row = spec
        self.i_lanes = i_lanes
        if contents is None:
            books = [None] * (spec.fan_in if spec.has_encoders else 0)
            banks, bias = [None] * spec.fan_in, None
        else:
            books, banks, bias = contents.codebooks, contents.banks, contents.bias
        self.encoders = Encoders(spec, books)
        self.matcher = Matcher(spec, banks, bias)
        members = {
            "i": In(stream.Signature(data.ArrayLayout(element_shape(spec.element), i_lanes))),
            "o": Out(Pushes(data.ArrayLayout(element_shape(spec.result), spec.lanes))),
        }
        self._loaded = {
            name: (part, member)
            for part in (self.encoders, self.matcher)
            for name, member in part.signature.members.items()
            if name.startswith("load_")
        }
        super().__init__(members | {name: member for name, (_, member) in self._loaded.items()})

    @property
    def rams(self) -> list[tuple[str, int, int]]:
        """``(name, depth, width)`` of every RAM, in the order of the load image; ports are
        ``load_<name>``.
        """
        return [
            (name.removeprefix("load_"), member.signature.depth, member.signature.width)
            for name, (_, member) in self._loaded.items()
        ]

    def parts(self, m):
        """Adds encoders and matcher, with their load ports, and connects the result."""
        m.submodules.encoders = self.encoders
        m.submodules.matcher = self.matcher
        for name, (part, _) in self._loaded.items():
            connect(m, flipped(getattr(self, name)), getattr(part, name))
        m.d.comb += [self.o.valid.eq(self.matcher.o_valid), self.o.p.eq(self.matcher.o)]

    def items(self, m, elements):
        """See `element_items`."""
        return element_items(m, self.row, elements)

    def regroup(self, m, spec: RegrouperSpec):
        """The input stream in groups of items."""
        m.submodules.regroup = regroup = Regrouper(spec, self.row.item_bits)
        elements = [self.i.p[lane] for lane in range(self.i_lanes)]
        m.d.comb += [
            regroup.i.valid.eq(self.i.valid),
            self.i.ready.eq(regroup.i.ready),
            regroup.i.p.as_value().eq(self.items(m, elements)),
        ]
        return regroup.o

    def keep_rows(self, m, begins, begins_last):
        """From the encoders to the matcher, a row of indices at a time.

        Parameters
        ----------
        begins, begins_last : Signal
            The encoders begin with the first, the last group of a row.

        Returns
        -------
        Signal
            There is room: for a row, or without an index buffer for its result.
        """
        spec, encoders, matcher = self.row, self.encoders, self.matcher
        if not spec.buffered:
            m.submodules.sequencer = sequencer = Sequencer(spec)
            m.d.comb += [
                self.o.reserve.eq(begins_last),
                sequencer.step.eq(encoders.o_valid),
                matcher.valid.eq(encoders.o_valid),
                matcher.lookup.eq(sequencer.o),
                matcher.indices.eq(encoders.o),
            ]
            return self.o.space
        m.submodules.index_buffer = buffer = IndexBuffer(spec)
        m.d.comb += [
            buffer.reserve.eq(begins),
            buffer.write.eq(encoders.o_valid),
            buffer.group.eq(encoders.o),
            buffer.last.eq(encoders.o_last),
            buffer.o_space.eq(self.o.space),
            self.o.reserve.eq(buffer.o_reserve),
            matcher.valid.eq(buffer.valid),
            matcher.lookup.eq(buffer.o),
            matcher.indices.eq(buffer.indices),
        ]
        return buffer.space


class LinearStage(LookupStage):
    """A lookup layer: beats of inputs in, beats of ``lanes`` outputs out.

    Groups of ``fan_in`` sub-vectors are encoded side by side. With one output tile their indices go
    straight to the matcher; with more they are kept in an `IndexBuffer` while the tiles take turns.
    Nothing ever stops behind the encoders' inputs: a row begins when there is room for its indices,
    a tile ends when there is room for its results. Latency and interval: `lutgen.spec.schedule`.

    Parameters and members are those of `LookupStage`.
    """

    def elaborate(self, platform):
        m = Module()
        spec, encoders = self.row, self.encoders
        self.parts(m)
        group = self.regroup(m, spec.regrouper(self.i_lanes))
        first_group = Signal(init=1, name="first_group")
        begins, begins_last = Signal(name="row_begins"), Signal(name="last_group_begins")
        room = self.keep_rows(m, begins, begins_last)
        # Where results are not buffered, room is needed for the group that completes one.
        asks = first_group if spec.buffered else group.p.last
        step = Signal(name="step")
        m.d.comb += [
            step.eq(group.valid & (room | ~(asks & encoders.first_step))),
            encoders.valid.eq(step),
            encoders.items.eq(group.p.data.as_value()),
            encoders.last.eq(group.p.last),
            group.ready.eq((room | ~(asks & encoders.first_step)) & encoders.last_step),
            begins.eq(step & encoders.first_step & first_group),
            begins_last.eq(step & encoders.first_step & group.p.last),
        ]
        with m.If(step & encoders.last_step):
            m.d.sync += first_group.eq(group.p.last)
        return m
