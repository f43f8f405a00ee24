"""The engine's encoder side: activations and centroids in, rows of indices out."""

from amaranth.hdl import Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.encoder import CentroidEncoder
from lutgen.gateware.engine.channel import Channel, packet_layout
from lutgen.gateware.engine.rest import Rest
from lutgen.gateware.engine.tables import room
from lutgen.gateware.engine.walk import SIZE, Walk
from lutgen.gateware.fifo import Fifo, Pushes
from lutgen.gateware.memory import LoadPort
from lutgen.gateware.pingpong import PingPong
from lutgen.gateware.stream import Register
from lutgen.gateware.tree import delay, position_bits
from lutgen.spec.engine import EngineSpec

__all__ = ["CodebookLoader", "Encode", "EncoderArray", "RowFeed", "encode_job"]


def encode_job(spec: EngineSpec) -> data.StructLayout:
    """What the encoder side has to know of a job: last numbers, and how it is done."""
    return data.StructLayout(
        {
            "last_row": position_bits(spec.rows),
            "short_last_row": position_bits(spec.rows),  # of the last block
            "last_group": position_bits(spec.groups),
            "last_turn": 16,
            "last_block": 16,
            "indices": 1,  # what comes are indices
            "signed": 1,
        }
    )


def row_layout(spec: EngineSpec) -> data.StructLayout:
    """A row of a pass; ``last`` marks the last of its pass."""
    return data.StructLayout({"data": 8 * max(spec.activation_row, spec.code_row), "last": 1})


def extended(raw, spec: EngineSpec, is_signed):
    """The elements of bytes, as wide as they are inside."""
    size, bits = 8 * spec.element_bytes, spec.activation_bits
    count = len(raw) // size
    elements = [raw.word_select(k, size)[:bits] for k in range(count)]
    return [Cat(element, element[-1] & is_signed).as_signed() for element in elements]


def at_half(spec: EngineSpec, half, row, rows: int):
    """The place of a row of a codebook in its memory."""
    return Mux(half, row + rows, row) if spec.ping_pong else row


class RowFeed(wiring.Component):
    """Beats to rows.

    Parameters
    ----------
    spec : EngineSpec

    Members
    -------
    i : In(stream)
    job : In(encode_job)
    final : Out(1)
        The beat that is due is the job's last.
    o : Out(stream)
        Payload `row_layout`.
    """

    def __init__(self, spec: EngineSpec):
        self.spec = spec
        super().__init__(
            {
                "i": In(stream.Signature(spec.activation.bits)),
                "job": In(encode_job(spec)),
                "final": Out(1),
                "o": Out(stream.Signature(row_layout(spec))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec, job = self.spec, self.job
        beats = max(spec.activation_beats, spec.code_beats)
        m.submodules.register = register = Register(self.o.p.shape())
        connect(m, register.o, flipped(self.o))
        moves = Signal(name="moves")
        last_beat = Mux(job.indices, spec.code_beats - 1, spec.activation_beats - 1)
        walk = Walk(
            m,
            moves,
            [
                ("beat", beats, last_beat),
                ("row", spec.rows, (job.last_row, job.short_last_row)),
                ("group", spec.groups, job.last_group),
                ("turn", SIZE, job.last_turn),
                ("block", SIZE, job.last_block),
            ],
        )
        complete = walk.ends["beat"]
        m.d.comb += [
            self.final.eq(walk.final),
            self.i.ready.eq(~complete | register.i.ready),
            moves.eq(self.i.valid & self.i.ready),
            register.i.valid.eq(self.i.valid & complete),
            register.i.p.last.eq(walk.ends["row"]),
        ]
        slots = []
        for slot in range(beats):
            if slot == beats - 1:
                slots.append(self.i.p)
                continue
            kept = Signal(spec.activation.bits, name=f"kept_{slot}", reset_less=True)
            with m.If(moves & (walk.at["beat"] == slot)):
                m.d.sync += kept.eq(self.i.p)
            direct = beats > 1 and slot in (spec.activation_beats - 1, spec.code_beats - 1)
            slots.append(Mux(walk.at["beat"] == slot, self.i.p, kept) if direct else kept)
        m.d.comb += register.i.p.data.eq(Cat(slots))
        return m


class CodebookLoader(wiring.Component):
    """Centroids into the half of the codebook memories that is not in use.

    Parameters
    ----------
    spec : EngineSpec

    Members
    -------
    i : In(stream)
    job : In(encode_job)
    final : Out(1)
        The beat that is due is the job's last.
    space, half : In(1)
        Of `PingPong`.
    filled : Out(1)
    load : Out(LoadPort)
        Of all encoders; ``encoder`` says of which.
    encoder : Out
    """

    def __init__(self, spec: EngineSpec):
        self.spec = spec
        self.rows = spec.rounds * spec.encoder.interval  # of one encoder and half
        super().__init__(
            {
                "i": In(stream.Signature(spec.centroid.bits)),
                "job": In(encode_job(spec)),
                "final": Out(1),
                "space": In(1),
                "half": In(1),
                "filled": Out(1),
                "load": Out(LoadPort(spec.halves * self.rows, spec.encoder.row_bits)),
                "encoder": Out(position_bits(spec.encoders)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec, job = self.spec, self.job
        moves = Signal(name="moves")
        walk = Walk(
            m,
            moves,
            [
                ("beat", spec.centroid_beats, spec.centroid_beats - 1),
                ("step", spec.encoder.interval, spec.encoder.interval - 1),
                ("encoder", spec.encoders, spec.encoders - 1),
                ("round", spec.rounds, spec.rounds - 1),
                ("group", spec.groups, job.last_group),
                ("turn", SIZE, job.last_turn),
                ("block", SIZE, job.last_block),
            ],
        )
        gathered = Signal(
            spec.centroid.bits * spec.centroid_beats, name="gathered", reset_less=True
        )
        with m.If(moves):
            m.d.sync += gathered.word_select(walk.at["beat"], spec.centroid.bits).eq(self.i.p)
        row = Signal(range(self.rows), name="row")
        with m.If(moves & walk.ends["beat"]):
            m.d.sync += [
                self.load.addr.eq(at_half(spec, self.half, row, self.rows)),
                self.encoder.eq(walk.at["encoder"]),
            ]
        offset = walk.at["round"] * spec.encoder.interval
        # A row is written in the cycle after its last beat.
        m.d.sync += [
            self.load.en.eq(moves & walk.ends["beat"]),
            self.filled.eq(moves & walk.ends["round"]),
        ]
        m.d.comb += [
            row.eq(walk.at["step"] + offset),
            self.i.ready.eq(self.space & ~self.filled),
            moves.eq(self.i.valid & self.i.ready),
            self.final.eq(walk.final),
            self.load.data.eq(Cat(extended(gathered[: 8 * spec.centroid_row], spec, job.signed))),
        ]
        return m


class EncoderArray(wiring.Component):
    """Rows to rows of indices. A row that has begun goes through without a pause.

    Parameters
    ----------
    spec : EngineSpec

    Members
    -------
    i : In(stream)
        Payload `row_layout`.
    job : In(encode_job)
    full, half : In(1)
        Of `PingPong`.
    release : Out(1)
    load : In(LoadPort)
    encoder : In
    o : Out(Pushes)
    """

    def __init__(self, spec: EngineSpec):
        self.spec = spec
        self.rows = spec.rounds * spec.encoder.interval
        super().__init__(
            {
                "i": In(stream.Signature(row_layout(spec))),
                "job": In(encode_job(spec)),
                "full": In(1),
                "half": In(1),
                "release": Out(1),
                "load": In(LoadPort(spec.halves * self.rows, spec.encoder.row_bits)),
                "encoder": In(position_bits(spec.encoders)),
                "o": Out(Pushes(data.ArrayLayout(spec.code_bits, spec.fan_in))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec, encoder = self.spec, self.spec.encoder
        begins, steps, within = Signal(name="begins"), Signal(name="steps"), Signal(name="within")
        passes = Signal(name="passes")
        walk = Walk(
            m,
            steps,
            [
                ("dim", encoder.dim_steps, encoder.dim_steps - 1),
                ("block", encoder.blocks, encoder.blocks - 1),
                ("round", spec.rounds, spec.rounds - 1),
            ],
        )
        row = Signal(range(spec.halves * self.rows), name="codebook_row")
        place = Signal(range(self.rows), name="place")
        with m.If(steps):
            m.d.sync += [within.eq(~walk.final), place.eq(Mux(walk.final, 0, place + 1))]
        m.d.comb += [
            begins.eq(self.i.valid & ~self.job.indices & self.full & self.o.space & ~within),
            steps.eq(begins | within),
            passes.eq(self.i.valid & self.job.indices & self.o.space),
            self.i.ready.eq((steps & walk.final) | passes),
            self.release.eq(steps & walk.final & self.i.p.last),
            self.o.reserve.eq(begins | passes),
            row.eq(at_half(spec, self.half, place, self.rows)),
        ]
        size = spec.subvec
        elements = extended(self.i.p.data[: 8 * spec.activation_row], spec, self.job.signed)
        vectors = [Cat(elements[f * size : (f + 1) * size]) for f in range(spec.fan_in)]
        indices = []
        for e in range(spec.encoders):
            unit = CentroidEncoder(encoder, spec.halves * self.rows, None, both=True)
            m.submodules[f"encoder_{e}"] = unit
            x = Signal(unit.x.shape(), name=f"x_{e}")
            with m.Switch(walk.at["round"]):
                for number in range(spec.rounds):
                    with m.Default() if number == spec.rounds - 1 else m.Case(number):
                        m.d.comb += x.as_value().eq(vectors[number * spec.encoders + e])
            m.d.comb += [
                unit.en.eq(1),
                unit.valid.eq(steps),
                unit.x.eq(x),
                unit.row.eq(row),
                unit.dim.eq(walk.at["dim"]),
                unit.block_first.eq(walk.first["block"]),
                unit.load.en.eq(self.load.en & (self.encoder == e)),
                unit.load.addr.eq(self.load.addr),
                unit.load.data.eq(self.load.data),
            ]
            indices.append(unit.o)
        self._collect(m, indices, steps, walk, passes)
        return m

    def _collect(self, m, indices, steps, walk, passes):
        """A row of indices from those of all rounds, or from what came as such."""
        spec, latency = self.spec, self.spec.encoder.latency
        ends = delay(m, None, steps & walk.ends["block"], latency, name="round_ends")
        final = delay(m, None, walk.last["round"], latency, name="last_round", reset_less=True)
        codes = [Cat(index, 0) for index in indices]
        width = spec.code_bits * spec.encoders
        kept = []
        number = Signal(position_bits(spec.rounds), name="collected")
        if spec.rounds > 1:
            with m.If(ends):
                m.d.sync += number.eq(Mux(final, 0, number + 1))
        for slot in range(spec.rounds - 1):
            part = Signal(width, name=f"round_{slot}", reset_less=True)
            with m.If(ends & (number == slot)):
                m.d.sync += part.eq(Cat(codes))
            kept.append(part)
        size = 8 * spec.code_bytes
        given = [self.i.p.data.word_select(f, size)[: spec.code_bits] for f in range(spec.fan_in)]
        m.d.comb += [
            self.o.valid.eq((ends & final) | passes),
            self.o.p.as_value().eq(Mux(self.job.indices, Cat(given), Cat(*kept, *codes))),
        ]


class Encode(wiring.Component):
    """The encoder side: two channels, codebooks in two halves, encoders, and a queue behind them.

    Parameters
    ----------
    spec : EngineSpec

    Members
    -------
    i_activations, i_centroids : In(stream)
        Payload `packet_layout`.
    job : In(encode_job)
        Stays as it is while ``run`` or ``active`` is high.
    run, stop, forced, passed : In(1)
    active, finished, drained : Out(1)
        See `Rest`.
    faults : Out(4)
        Activations short, long, centroids short, long; until ``active`` falls.
    o : Out(stream)
        Rows of indices with marks.
    """

    def __init__(self, spec: EngineSpec):
        self.spec = spec
        super().__init__(
            {
                "i_activations": In(stream.Signature(packet_layout(spec.activation.bits))),
                "i_centroids": In(stream.Signature(packet_layout(spec.centroid.bits))),
                "job": In(encode_job(spec)),
                "run": In(1),
                "stop": In(1),
                "forced": In(1),
                "passed": In(1),
                "active": Out(1),
                "finished": Out(1),
                "drained": Out(1),
                "faults": Out(4),
                "o": Out(stream.Signature(data.ArrayLayout(spec.code_bits, spec.fan_in))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        m.submodules.rest = rest = Rest(spec.index_fifo.depth)
        m.submodules.activations = rows = Channel(spec.activation.bits)
        m.submodules.centroids = centroids = Channel(spec.centroid.bits)
        connect(m, flipped(self.i_activations), rows.i)
        connect(m, flipped(self.i_centroids), centroids.i)
        # Between jobs everything begins anew; nothing is under way then.
        idle = Signal(name="idle")
        m.d.comb += idle.eq(~self.active)

        def fresh(part):
            return ResetInserter(idle)(part)

        feed, loader, array = RowFeed(spec), CodebookLoader(spec), EncoderArray(spec)
        halves = PingPong()
        fifo = Fifo(spec.index_fifo, self.o.p.shape())
        m.submodules.feed = fresh(feed)
        m.submodules.loader = fresh(loader)
        m.submodules.array = fresh(array)
        m.submodules.halves = fresh(halves)
        m.submodules.fifo = fresh(fifo)
        connect(m, rows.o, feed.i)
        connect(m, centroids.o, loader.i)
        connect(m, array.o, fifo.i)
        connect(m, loader.load, array.load)
        uses_centroids = self.active & ~self.job.indices
        faults = Cat(rows.short, rows.long, centroids.short, centroids.long)
        begun = Signal(name="begun")  # a row has begun and takes its steps
        m.d.comb += [
            rows.active.eq(self.active),
            rows.stop.eq(self.stop),
            rows.final.eq(feed.final),
            centroids.active.eq(uses_centroids),
            centroids.stop.eq(self.stop),
            centroids.final.eq(loader.final),
            feed.job.eq(self.job),
            loader.job.eq(self.job),
            array.job.eq(self.job),
            loader.space.eq(room(m, spec, halves)),
            loader.half.eq(halves.fill),
            halves.filled.eq(loader.filled),
            array.full.eq(halves.full),
            array.half.eq(halves.use),
            array.encoder.eq(loader.encoder),
            halves.release.eq(array.release),
            # A row that waits when a job ends is thrown away with everything else.
            array.i.p.eq(feed.o.p),
            array.i.valid.eq(feed.o.valid & ((self.run & ~self.stop) | begun)),
            feed.o.ready.eq(array.i.ready),
            self.o.valid.eq(fifo.o.valid),
            self.o.p.eq(fifo.o.p),
            fifo.o.ready.eq(self.o.ready),
            rest.run.eq(self.run),
            rest.stop.eq(self.stop),
            rest.forced.eq(self.forced),
            rest.ended.eq(rows.finished & (centroids.finished | self.job.indices)),
            rest.faulty.eq(faults.any()),
            rest.reserve.eq(array.o.reserve),
            rest.taken.eq(self.o.valid & self.o.ready),
            rest.passed.eq(self.passed),
            self.active.eq(rest.active),
            self.finished.eq(rest.finished),
            self.drained.eq(rest.drained),
        ]
        # From registers that fall in step with `active`: none of a job is seen in the next one.
        m.d.sync += self.faults.eq(Mux(self.active & self.run, faults, 0))
        with m.If(array.o.reserve):
            m.d.sync += begun.eq(1)
        with m.If(array.i.ready & array.i.valid):
            m.d.sync += begun.eq(0)
        return m
