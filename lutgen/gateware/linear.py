"""The linear stage: encoders, index buffer, matcher, put together as `LinearSpec` folds them."""

from dataclasses import dataclass

import numpy as np
from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.distance import element_shape
from lutgen.gateware.encoder import CentroidEncoder
from lutgen.gateware.index_buffer import IndexBuffer, Sequencer, lookup_layout
from lutgen.gateware.matcher import AccumulatorTree, LutBank, Requantiser
from lutgen.gateware.memory import Store
from lutgen.gateware.stream import Regrouper, Skid, beat
from lutgen.gateware.tree import delay, pack_rows, position_bits
from lutgen.spec.linear import LinearSpec

__all__ = ["LinearStage", "Memories"]


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
        """From a layer's arrays: ``[g, c, v]`` (None for digit layers), ``[g, c, n]``, ``[n]``."""
        books = [] if codebooks is None else spec.codebook_rows(codebooks)
        return cls(
            [pack_rows(rows, spec.element.bits) for rows in books],
            [pack_rows(rows, spec.grid.bits) for rows in spec.bank_rows(table)],
            pack_rows(np.asarray(spec.bias_rows(bias)), spec.acc.bits),
        )


class LinearStage(wiring.Component):
    """A lookup layer: beats of inputs in, beats of ``lanes`` outputs out.

    Groups of ``fan_in`` sub-vectors are encoded side by side. With one output tile their indices go
    straight to the matcher; with more they are kept in an `IndexBuffer` while the tiles take turns.
    The matcher is one pipeline that stops as a whole when its result register can't move on; a
    `Skid` keeps that condition local. Latency and interval: `lutgen.spec.schedule`.

    Parameters
    ----------
    spec : LinearSpec
    i_lanes : int
        Elements of an input beat.
    contents : Memories or None
        None for RAMs, filled through their load ports.

    Members
    -------
    i, o : In(stream), Out(stream)
        Payload `beat`.

    load_codebook_0.., load_table_0.., load_bias : In(LoadPort)
        RAMs only; `load_ports` gives their order.
    """

    def __init__(self, spec: LinearSpec, i_lanes: int, contents: Memories | None):
        self.spec = spec
        self.i_lanes = i_lanes
        self._rows = contents
        self._encoders = [
            CentroidEncoder(spec.encoder, spec.groups * spec.encoder.interval, rows)
            for rows in self._books()
        ]
        banks = [None] * spec.fan_in if contents is None else contents.banks
        self._banks = [LutBank(spec.bank, rows) for rows in banks]
        self._bias = Store(
            spec.tiles, spec.lanes * spec.acc.bits, None if contents is None else contents.bias
        )
        members = {
            "i": In(stream.Signature(beat(element_shape(spec.element), i_lanes))),
            "o": Out(stream.Signature(beat(element_shape(spec.result), spec.lanes))),
        }
        self._loaded = {}
        if contents is None:
            self._loaded = {f"codebook_{f}": e for f, e in enumerate(self._encoders)}
            self._loaded |= {f"table_{f}": b for f, b in enumerate(self._banks)}
            self._loaded["bias"] = self._bias
            members |= {
                f"load_{name}": part.signature.members["load"]
                for name, part in self._loaded.items()
            }
        super().__init__(members)

    def _books(self):
        """Contents of the codebook memories; as many entries as there are encoders."""
        if self.spec.metric == "digit":
            return []
        return [None] * self.spec.fan_in if self._rows is None else self._rows.codebooks

    @property
    def rams(self) -> list[tuple[str, int, int]]:
        """``(name, depth, width)`` of every RAM, in the order of the load image; ports are
        ``load_<name>``.
        """
        signatures = {
            name: part.signature.members["load"].signature for name, part in self._loaded.items()
        }
        return [(name, load.depth, load.width) for name, load in signatures.items()]

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        m.submodules.skid = skid = Skid(self.o.p.shape())
        connect(m, skid.o, flipped(self.o))
        advance = Signal(name="advance")
        m.d.comb += advance.eq(~skid.i.valid | skid.i.ready)
        for name, part in self._loaded.items():
            connect(m, flipped(getattr(self, f"load_{name}")), part.load)

        encoded, encoder_en, indices = self._encode(m)
        lookup = Signal(lookup_layout(spec), name="lookup")
        valid = Signal(name="lookup_valid")
        if spec.buffered:
            m.submodules.index_buffer = buffer = IndexBuffer(spec)
            m.d.comb += [
                buffer.i.valid.eq(encoded.valid),
                buffer.i.payload.indices.eq(indices),
                buffer.i.payload.last.eq(encoded.last),
                buffer.i.payload.drop.eq(encoded.drop),
                encoder_en.eq(~encoded.valid | buffer.i.ready),
                buffer.en.eq(advance),
                lookup.eq(buffer.o),
                valid.eq(buffer.valid),
            ]
            indices = buffer.indices
        else:
            m.submodules.sequencer = sequencer = Sequencer(spec)
            m.d.comb += [
                encoder_en.eq(advance),
                sequencer.step.eq(encoded.valid & advance),
                sequencer.restart.eq(encoded.last),
                lookup.eq(sequencer.o),
                valid.eq(encoded.valid & ~encoded.drop),
            ]
        self._match(m, advance, valid, lookup, indices, skid.i)
        return m

    def _encode(self, m):
        """Input beats to groups of indices.

        Returns
        -------
        encoded : View
            ``valid``, ``last``, ``drop`` of the group at the encoders' output.
        en : Signal
            To be driven: the encoders move.
        indices : Value
        """
        spec = self.spec
        encoder = spec.encoder
        m.submodules.regroup = regroup = Regrouper(spec.regrouper(self.i_lanes), spec.item_bits)
        items, digits = self._items()
        m.d.comb += digits
        m.d.comb += [
            regroup.i.valid.eq(self.i.valid),
            self.i.ready.eq(regroup.i.ready),
            regroup.i.payload.last.eq(self.i.payload.last),
            regroup.i.payload.drop.eq(self.i.payload.drop),
            regroup.i.payload.data.as_value().eq(items),
        ]
        en = Signal(name="encoder_en")
        status = Signal(data.StructLayout({"valid": 1, "last": 1, "drop": 1}), name="group_status")
        m.d.comb += [
            status.valid.eq(regroup.o.valid),
            status.last.eq(regroup.o.p.last),
            status.drop.eq(regroup.o.p.drop),
            regroup.o.ready.eq(en),
        ]
        if spec.metric == "digit":
            return status, en, regroup.o.p.data.as_value()

        dim = Signal(position_bits(encoder.dim_steps), name="dim")
        block = Signal(position_bits(encoder.blocks), name="block")
        row = Signal(position_bits(spec.groups * encoder.interval), name="row")
        last_dim, last_step = Signal(name="last_dim"), Signal(name="last_step")
        m.d.comb += [
            last_dim.eq(dim == encoder.dim_steps - 1),
            last_step.eq(last_dim & (block == encoder.blocks - 1)),
            status.valid.eq(regroup.o.valid & last_step),
            regroup.o.ready.eq(en & last_step),
        ]
        with m.If(regroup.o.valid & en):
            m.d.sync += [
                dim.eq(Mux(last_dim, 0, dim + 1)),
                block.eq(Mux(last_step, 0, block + last_dim)),
                row.eq(Mux(last_step & regroup.o.p.last, 0, row + 1)),
            ]
        vectors = data.View(
            data.ArrayLayout(
                data.ArrayLayout(element_shape(spec.element), spec.subvec), spec.fan_in
            ),
            regroup.o.p.data.as_value(),
        )
        for f, unit in enumerate(self._encoders):
            m.submodules[f"encoder_{f}"] = unit
            m.d.comb += [
                unit.en.eq(en),
                unit.x.eq(vectors[f]),
                unit.row.eq(row),
                unit.dim.eq(dim),
                unit.block_first.eq(block == 0),
            ]
        encoded = delay(m, en, status, encoder.latency, name="encoded")
        return encoded, en, Cat(unit.o for unit in self._encoders)

    def _items(self):
        """The input beat as items: its elements, or their digits."""
        spec = self.spec
        if spec.metric == "digit":
            elements = [self.i.p.data[lane] for lane in range(self.i_lanes)]
            wide = spec.items_per_element * spec.index_bits
            shape = signed(wide) if spec.element.signed else unsigned(wide)
            digits = [Signal(shape, name=f"digits_{lane}") for lane in range(self.i_lanes)]
            return Cat(digits), [d.eq(e) for d, e in zip(digits, elements, strict=True)]
        return self.i.p.data.as_value(), []

    def _match(self, m, advance, valid, lookup, indices, o):
        """Indices to results, in one pipeline that moves with ``advance``."""
        spec = self.spec
        before_tree = spec.address_latency + spec.bank.latency
        to_acc = before_tree + spec.tree.latency
        at = [lookup]  # the lookup as it goes down the pipeline
        for number in range(to_acc + 1):
            at.append(delay(m, advance, at[-1], 1, name=f"lookup_{number}", reset_less=True))
        valid_acc = delay(m, advance, valid, to_acc, name="valid")
        valid_done = delay(m, advance, valid_acc, 1, name="valid_done")

        values = self._look_up(m, advance, lookup, indices, at[before_tree].last)
        m.submodules.bias = self._bias
        m.d.comb += [self._bias.en.eq(advance), self._bias.addr.eq(at[to_acc - 1].tile)]
        bias = data.View(data.ArrayLayout(signed(spec.acc.bits), spec.lanes), self._bias.data)
        for lane in range(spec.lanes):
            m.submodules[f"tree_{lane}"] = tree = AccumulatorTree(spec.tree)
            m.submodules[f"requantiser_{lane}"] = requantiser = Requantiser(spec.requantiser)
            acc = Signal(signed(spec.acc.bits), name=f"acc_{lane}", reset_less=True)
            m.d.comb += [
                tree.en.eq(advance),
                requantiser.en.eq(advance),
                requantiser.i.eq(acc),
                o.p.data[lane].eq(requantiser.o),
            ]
            m.d.comb += [tree.i[f].eq(values[f][lane]) for f in range(spec.fan_in)]
            with m.If(advance & valid_acc):
                m.d.sync += acc.eq(Mux(at[to_acc].first, bias[lane], acc) + tree.o)
        done = at[to_acc + 1]
        result_valid = delay(m, advance, valid_done & done.last, 1, name="result_valid")
        m.d.comb += [
            o.valid.eq(result_valid),
            o.p.last.eq(delay(m, advance, done.final, 1, name="result_last", reset_less=True)),
        ]

    def _look_up(self, m, advance, lookup, indices, last):
        """The values ``[fan_in][lanes]`` of the indices, 0 for banks that the last group has no
        codebook for.
        """
        spec = self.spec
        values = []
        for f, bank in enumerate(self._banks):
            m.submodules[f"table_{f}"] = bank
            index = indices.word_select(f, spec.index_bits)
            if spec.address_latency:
                address = Signal(
                    position_bits(spec.bank.depth), name=f"address_{f}", reset_less=True
                )
                with m.If(advance):
                    m.d.sync += address.eq(lookup.base + index)
            else:
                address = lookup.base | index
            m.d.comb += [bank.en.eq(advance), bank.addr.eq(address)]
            if f < spec.last_group:
                values.append(bank.o)
                continue
            gated = Signal(bank.o.shape(), name=f"values_{f}")
            m.d.comb += gated.as_value().eq(Mux(last, 0, bank.o.as_value()))
            values.append(gated)
        return values
