"""The way out: rows of accumulators wait in a queue and leave beat by beat, requantised there."""

from amaranth.hdl import Array, Cat, Const, Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from lutgen.gateware.engine.channel import packet_layout
from lutgen.gateware.engine.walk import SIZE, Walk
from lutgen.gateware.fifo import Fifo, Pushes
from lutgen.gateware.memory import Buffer
from lutgen.gateware.tree import delay, position_bits
from lutgen.numeric import ceil_div, clog2
from lutgen.spec.engine import WORD, EngineSpec
from lutgen.spec.fifo import FifoSpec
from lutgen.spec.job import RESULTS

__all__ = ["ResultQueue", "Results", "Serialiser", "result_job"]

ACCUMULATORS, INDICES = RESULTS.index("accumulators"), RESULTS.index("indices")


def result_job(spec: EngineSpec) -> data.StructLayout:
    """What the way out has to know of a job."""
    return data.StructLayout(
        {
            "last_row": position_bits(spec.rows),
            "short_last_row": position_bits(spec.rows),  # of the last block
            "last_turn": max(16, position_bits(spec.groups)),  # tiles, or groups of indices
            "last_block": 16,
            "kind": 2,
            "shift": 5,
            "low": signed(spec.output_bits + 1),
            "high": signed(spec.output_bits + 1),
            "has_map": 1,
        }
    )


class ResultQueue(wiring.Component):
    """Rows of accumulators that wait; reserved when their last step begins.

    Parameters
    ----------
    spec : EngineSpec

    Members
    -------
    space : Out(1)
        A row may be reserved; from a register.
    reserve, push : In(1)
        One is; one that was is there.
    i : In
        It, a part from each matcher.
    next : In(1)
        Moves on to the next row; only while ``there``.
    there : Out(1)
        There is one behind the one that is shown.
    o : Out
        The row, from the cycle after ``next`` to the next one.
    """

    def __init__(self, spec: EngineSpec):
        self.spec = spec
        row = data.ArrayLayout(signed(spec.acc.bits), spec.outputs)
        super().__init__(
            {
                "space": Out(1),
                "reserve": In(1),
                "push": In(1),
                "i": In(row),
                "next": In(1),
                "there": Out(1),
                "o": Out(row),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        depth = spec.result_depth
        taken, after = Signal(range(depth + 1), name="taken"), Signal(range(depth + 1))
        stored = Signal(range(depth + 1), name="stored")
        full = Signal(name="full")
        m.d.comb += [
            after.eq(taken + self.reserve - self.next),
            self.space.eq(~full),
            self.there.eq(stored != 0),
        ]
        m.d.sync += [
            taken.eq(after),
            full.eq(after == depth),
            stored.eq(stored + self.push - self.next),
        ]
        places = []
        for name, moves in (("push_row", self.push), ("next_row", self.next)):
            place = Signal(position_bits(depth), name=name)
            with m.If(moves):
                m.d.sync += place.eq(Mux(place == depth - 1, 0, place + 1))
            places.append(place)
        width = spec.lanes * spec.acc.bits
        for number in range(spec.matchers):
            m.submodules[f"memory_{number}"] = memory = Buffer(depth, width)
            part = slice(number * width, (number + 1) * width)
            m.d.comb += [
                memory.load.en.eq(self.push),
                memory.load.addr.eq(places[0]),
                memory.load.data.eq(self.i.as_value()[part]),
                memory.en.eq(self.next),
                memory.addr.eq(places[1]),
                self.o.as_value()[part].eq(memory.data),
            ]
        return m


class Serialiser(wiring.Component):
    """Rows to beats, requantised and mapped where the job says so. A beat that has begun goes
    through without a pause.

    Parameters
    ----------
    spec : EngineSpec

    Members
    -------
    job : In(result_job)
    go : In(1)
        Beats may begin.
    there : In(1)
        The queue has a row behind the one that it shows.
    next : Out(1)
    row : In
        The row that it shows.
    closing : In(1)
        The job's last beat may begin.
    closes : Out(1)
        It does.
    write, entry, code : In
        Of the map.
    o : Out(Pushes)
        Payload `packet_layout`.
    """

    latency = 4  # from the beginning of a beat to its push

    def __init__(self, spec: EngineSpec):
        self.spec = spec
        super().__init__(
            {
                "job": In(result_job(spec)),
                "go": In(1),
                "there": In(1),
                "next": Out(1),
                "row": In(data.ArrayLayout(signed(spec.acc.bits), spec.outputs)),
                "closing": In(1),
                "closes": Out(1),
                "write": In(1),
                "entry": In(spec.output_bits),
                "code": In(spec.output_bits),
                "o": Out(Pushes(packet_layout(spec.result.bits))),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec, job = self.spec, self.job
        shown, begins = Signal(name="shown"), Signal(name="begins")
        raw = Signal(name="raw")
        beats = max(spec.result_beats, spec.word_beats)
        walk = Walk(
            m,
            begins,
            [
                ("beat", beats, Mux(raw, spec.word_beats - 1, spec.result_beats - 1)),
                ("row", spec.rows, (job.last_row, job.short_last_row)),
                ("tile", SIZE, job.last_turn),
                ("block", SIZE, job.last_block),
            ],
        )
        m.d.comb += [
            raw.eq(job.kind == ACCUMULATORS),
            begins.eq(self.go & shown & self.o.space & (self.closing | ~walk.final)),
            self.next.eq(self.there & (~shown | (begins & walk.ends["beat"]))),
            self.o.reserve.eq(begins),
            self.closes.eq(begins & walk.final),
        ]
        with m.If(self.next):
            m.d.sync += shown.eq(1)
        with m.Elif(begins & walk.ends["beat"]):
            m.d.sync += shown.eq(0)
        group, words = self._select(m, walk.at["beat"], raw)
        size, latency = 8 * spec.output_bytes, self.latency
        coded = delay(m, None, begins, latency - 1, name="coded")
        results = [self._requantise(m, group[k], coded, k) for k in range(spec.result_elements)]
        beat = Signal(spec.result.bits, name="results")
        m.d.comb += beat.eq(
            Cat(Cat(r, (r[-1] & (job.low < 0)).replicate(size))[:size] for r in results)
        )
        valid = delay(m, None, begins, latency, name="valid")
        final = delay(m, None, walk.final, latency, name="final", reset_less=True)
        late = delay(m, None, words, latency - 1, name="words", reset_less=True)
        m.d.comb += [
            self.o.valid.eq(valid),
            self.o.p.data.eq(Mux(raw, late, beat)),
            self.o.p.last.eq(final),
        ]
        return m

    def _select(self, m, beat, raw):
        """The accumulators of a beat, one cycle later: those that are requantised, and words."""
        spec = self.spec
        count, ratio = spec.result_elements, spec.result_elements // spec.result_words
        row, size = self.row.as_value(), count * spec.acc.bits
        # Short of a whole group, the last one ends in zeros.
        groups = Array(row[k * size : (k + 1) * size] for k in range(spec.result_beats))
        part = Signal(clog2(ratio), name="part", reset_less=True)
        picked = Signal(
            data.ArrayLayout(signed(spec.acc.bits), count), name="picked", reset_less=True
        )
        number = Mux(raw, beat >> clog2(ratio), beat)
        m.d.sync += [picked.as_value().eq(groups[number]), part.eq(beat)]
        size = spec.result_words
        words = Signal(data.ArrayLayout(signed(8 * WORD), size), name="picked_words")
        for k in range(size):
            m.d.comb += words[k].eq(Array(picked[p * size + k] for p in range(ratio))[part])
        return picked, words.as_value()

    def _requantise(self, m, acc, coded, number):
        """The code of a result, `latency` - 1 cycles later. ``coded`` marks the cycles before those
        in which it is there.
        """
        spec, job = self.spec, self.job
        biased = Signal(signed(33), name=f"biased_{number}", reset_less=True)
        half = ((Const(1, 1) << job.shift) >> 1)[:32]
        m.d.sync += biased.eq(acc + half)
        shifted = Signal(signed(33), name=f"shifted_{number}")
        code = Signal(spec.output_bits, name=f"code_{number}", reset_less=True)
        m.d.comb += shifted.eq(biased >> job.shift)
        low, high = shifted < job.low, shifted > job.high
        m.d.sync += code.eq(Mux(low, job.low, Mux(high, job.high, shifted)))
        return self._mapped(m, code, coded, number)

    def _mapped(self, m, code, coded, number):
        """The code, or what the map has for it, one cycle later."""
        spec = self.spec
        plain = Signal.like(code, name=f"plain_{number}", reset_less=True)
        m.d.sync += plain.eq(code)
        if not spec.has_map:
            return plain
        m.submodules[f"map_{number}"] = table = Buffer(1 << spec.output_bits, spec.output_bits)
        m.d.comb += [
            table.en.eq(coded & self.job.has_map),
            table.addr.eq(code),
            table.load.en.eq(self.write),
            table.load.addr.eq(self.entry),
            table.load.data.eq(self.code),
        ]
        return Mux(self.job.has_map, table.data, plain)


class Results(wiring.Component):
    """Results to the stream, from the queue of accumulators or straight from the encoders.

    Parameters
    ----------
    spec : EngineSpec

    Members
    -------
    job : In(result_job)
    go : In(1)
        Beats may begin.
    fresh : In(1)
        Begins anew; nothing is under way.
    closing : In(1)
        The job's last beat may begin.
    tail : In(1)
        Ends the packet of a job that has failed, with a beat of nothing, unless its last beat has
        begun; held until ``ended``. No beat is on its way to the queue.
    ended : Out(1)
        The packet's last beat has been taken; until ``fresh``.
    space, reserve, push, i
        Of `ResultQueue`.
    write, entry, code : In
        Of the map.
    i_indices : In(stream)
    o : Out(stream)
        Payload `packet_layout`.
    """

    def __init__(self, spec: EngineSpec):
        self.spec = spec
        row = data.ArrayLayout(signed(spec.acc.bits), spec.outputs)
        packet = packet_layout(spec.result.bits)
        super().__init__(
            {
                "job": In(result_job(spec)),
                "go": In(1),
                "fresh": In(1),
                "closing": In(1),
                "tail": In(1),
                "ended": Out(1),
                "space": Out(1),
                "reserve": In(1),
                "push": In(1),
                "i": In(row),
                "write": In(1),
                "entry": In(spec.output_bits),
                "code": In(spec.output_bits),
                "i_indices": In(stream.Signature(data.ArrayLayout(spec.code_bits, spec.fan_in))),
                "o": Out(stream.Signature(packet)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        spec = self.spec
        queue, serialiser = ResultQueue(spec), Serialiser(spec)
        m.submodules.queue = ResetInserter(self.fresh)(queue)
        m.submodules.serialiser = ResetInserter(self.fresh)(serialiser)
        depth = serialiser.latency + 2
        m.submodules.fifo = fifo = Fifo(FifoSpec(spec.result.bits + 1, depth), self.o.p.shape())
        connect(m, fifo.o, flipped(self.o))
        for name in ("reserve", "push", "i"):
            m.d.comb += getattr(queue, name).eq(getattr(self, name))
        for name in ("job", "closing", "write", "entry", "code"):
            m.d.comb += getattr(serialiser, name).eq(getattr(self, name))
        # The beat that ends the packet has begun: none follows it.
        closed, going = Signal(name="closed"), Signal(name="going")
        m.d.comb += [
            going.eq(self.go & ~closed),
            serialiser.go.eq(going),
            self.space.eq(queue.space),
            queue.next.eq(serialiser.next),
            serialiser.there.eq(queue.there),
            serialiser.row.eq(queue.o),
            serialiser.o.space.eq(fifo.i.space),
        ]
        moves, number, final = self._indices(m, going & fifo.i.space)
        tails = Signal(name="tails")
        m.d.comb += [
            tails.eq(self._tails(m, closed) & fifo.i.space),
            fifo.i.reserve.eq(serialiser.o.reserve | moves | tails),
            fifo.i.valid.eq(serialiser.o.valid | moves | tails),
            fifo.i.p.eq(serialiser.o.p),
        ]
        with m.If(moves):
            m.d.comb += [fifo.i.p.data.eq(self._codes()[number]), fifo.i.p.last.eq(final)]
        with m.If(tails):
            m.d.comb += [fifo.i.p.data.eq(0), fifo.i.p.last.eq(1)]
        with m.If(tails | serialiser.closes | (moves & final)):
            m.d.sync += closed.eq(1)
        with m.If(self.o.valid & self.o.ready & self.o.p.last):
            m.d.sync += self.ended.eq(1)
        with m.If(self.fresh):
            m.d.sync += [self.ended.eq(0), closed.eq(0)]
        return m

    def _tails(self, m, closed):
        """Whether the packet has to be ended."""
        return self.tail & ~closed

    def _indices(self, m, space):
        """Beats of rows of indices, where these are the results."""
        spec, job = self.spec, self.job
        moves = Signal(name="index_beat")
        m_fresh = Module()
        walk = Walk(
            m_fresh,
            moves,
            [
                ("beat", spec.index_beats, spec.index_beats - 1),
                ("row", spec.rows, (job.last_row, job.short_last_row)),
                ("group", SIZE, job.last_turn),
                ("block", SIZE, job.last_block),
            ],
            name="index",
        )
        m.submodules.index_walk = ResetInserter(self.fresh)(m_fresh)
        m.d.comb += [
            moves.eq(
                (job.kind == INDICES) & self.i_indices.valid & space & (self.closing | ~walk.final)
            ),
            self.i_indices.ready.eq(moves & walk.ends["beat"]),
        ]
        return moves, walk.at["beat"], walk.final

    def _codes(self):
        """Beats of a row of indices."""
        spec = self.spec
        size = 8 * spec.code_bytes
        codes = [Cat(code, Const(0, size - spec.code_bits)) for code in self.i_indices.p]
        row = Cat(codes)
        missing = spec.result.bits * spec.index_beats - len(row)
        whole = Cat(row, Const(0, missing)) if missing else row
        count = ceil_div(len(whole), spec.result.bits)
        return Array(whole.word_select(k, spec.result.bits) for k in range(count))
