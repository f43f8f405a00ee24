"""The engine's results: each job gives one packet, however it ends, and leaves nothing behind."""

from amaranth.hdl import Assert, Assume, Cat, Const, Module, Mux, Signal

from lutgen.formal.harness import Inside, Proof, implies, stalls
from lutgen.gateware.engine.control import JobControl, State
from lutgen.gateware.engine.results import INDICES, Results, Serialiser, result_job
from lutgen.spec.engine import EngineSpec

__all__ = ["SMALL", "PacketProof"]

# One lane, and as few rows as can be: the way out of any engine but for widths.
SMALL = EngineSpec(
    1, 1, 2, activation_bits=2, table_bits=2, output_bits=2, rows=3, lanes=1, result_rows=2
)


class PacketProof(Proof):
    """`Results` and `JobControl`, with a receiver that takes beats when it likes.

    What is left open, within what the assumptions say: when jobs start, are aborted and fail; of
    what kind and size they are; when rows of accumulators or indices come; when the inputs have
    ended.

    Parameters
    ----------
    spec : EngineSpec
    control, results : type
        The parts, or ones with a mistake in them.
    """

    def __init__(self, spec: EngineSpec = SMALL, control=JobControl, results=Results):
        self.spec = spec
        self.control, self.results = control, results
        free = ("start", "abort", "fault", "drained", "closing", "reserve", "index", "ready")
        super().__init__({**dict.fromkeys(free, 1), "job": result_job(spec)})

    def build(self, m):
        spec = self.spec
        settle = max(spec.matcher_latency, Serialiser.latency) + 1
        control, results = self.control(settle), self.results(spec)
        states = Module()
        m.submodules.control = states
        inner = Inside(states, control)
        inside = Inside(m, results)
        state, wait = inner("state"), inner("wait")
        idle, close = state == State.IDLE.value, state == State.CLOSE.value
        job, before = results.job, Signal(self.job.shape())
        m.d.sync += before.eq(self.job)
        m.d.comb += [
            job.eq(self.job),
            Assume(implies(control.busy, self.job.as_value() == before.as_value())),
            Assume(implies(self.start, ~control.busy)),
            control.start.eq(self.start),
            control.abort.eq(self.abort),
            control.fault.eq(self.fault),
            control.drained.eq(self.drained),
            control.ended.eq(results.ended),
            results.go.eq(control.go),
            results.fresh.eq(control.fresh),
            results.tail.eq(control.tail),
            results.closing.eq(self.closing),
            results.i_indices.valid.eq(self.index),
            results.o.ready.eq(self.ready),
        ]
        coming = self._rows(m, results, control, inside, job)
        self._packets(m, results, control, close)
        beats = self._beats(m, inside, results, idle)
        self._rest(m, inside, control, state, wait, coming, beats, job)

    def _rows(self, m, results, control, inside, job):
        """Rows that are reserved while the job goes on, and come as late as a matcher takes.

        The last beat of a job is of its last row.
        """
        matches = job.kind != INDICES
        coming = []
        value = self.reserve
        for number in range(1, self.spec.matcher_latency + 1):
            later = Signal(name=f"coming_{number}")
            m.d.sync += later.eq(value)
            coming.append(later)
            value = later
        closed, closes = inside("closed"), inside("closes", "serialiser")
        taken, stored = inside("taken", "queue"), inside("stored", "queue")
        m.d.comb += [
            results.reserve.eq(self.reserve),
            results.push.eq(value),
            Assume(implies(self.reserve, control.go & matches & results.space & ~closed)),
            Assume(implies(closes, ~Cat(coming).any() & ~self.reserve & (taken == 0))),
            Assert(taken == stored + sum(coming, Const(0, 1))),
            Assert(taken <= self.spec.result_depth),
            Assert(results.space == (taken != self.spec.result_depth)),
        ]
        return coming

    def _packets(self, m, results, control, close):
        """One beat with ``last`` a job, the last one; none without a job."""
        over = Signal()  # it has been taken
        taken = results.o.valid & results.o.ready
        with m.If(taken & results.o.p.last):
            m.d.sync += over.eq(1)
        with m.If(control.started):
            m.d.sync += over.eq(0)
        stalls(m, results.o, name="o")
        m.d.comb += [
            Assert(implies(results.o.valid, control.run & ~over)),
            Assert(implies(close | control.done, over)),
            Assert(implies(control.run, results.ended == over)),
        ]

    def _beats(self, m, inside, results, idle):
        """Beats that have begun, from the oldest on: which are there, and which is the last."""
        rows = 5
        count, read_row = inside("stored", "fifo"), inside("read_row", "fifo")
        write_row, taken = inside("write_row", "fifo"), inside("taken", "fifo")
        first, read = inside("first_holds", "fifo"), inside("read_holds", "fifo")
        cells = inside.rows("fifo", "memory")

        def around(place):
            return Mux(place >= rows, place - rows, place)

        entry, data = inside("first", "fifo"), inside("data", "fifo", "memory", "memory")
        beats = [(first, entry[-1]), (read, data[-1])]
        for number in range(rows):
            place = Signal(range(2 * rows), name=f"place_{number}")
            m.d.comb += place.eq(read_row + number)
            beats.append((count > number, cells[around(place)][-1]))
        pipeline = []
        for number in range(Serialiser.latency, 0, -1):
            valid = inside(f"valid_{number}", "serialiser")
            pipeline.append(valid)
            beats.append((valid, inside(f"final_{number}", "serialiser")))
        behind = Signal(range(2 * rows))
        m.d.comb += [
            behind.eq(read_row + count),
            Assert((read_row < rows) & (write_row < rows) & (count <= rows)),
            Assert(write_row == around(behind)),
            Assert(implies(count != 0, first | read)),
            Assert(taken == first + read + count + sum(pipeline, Const(0, 1))),
            Assert(taken <= rows + 1),
            Assert(inside("full", "fifo") == (taken == rows + 1)),
        ]
        # Where one is the last, none is behind it.
        closed = inside("closed")
        ended = results.ended
        later, youngest = Const(0, 1), Const(0, 1)
        for number, (there, last) in reversed([*enumerate(beats)]):
            some = Signal(name=f"some_{number}")
            m.d.comb += [
                some.eq(later | there),
                Assert(implies(there & last, closed & ~ended & ~later)),
            ]
            youngest = Mux(later, youngest, there & last)
            later = some
        m.d.comb += [
            Assert(implies(closed & ~ended & ~idle, youngest)),
            Assert(implies(ended, ~later)),
        ]
        return pipeline

    def _rest(self, m, inside, control, state, wait, coming, pipeline, job):
        """Between jobs nothing is left; a stopped one has run out when its packet is ended."""
        idle, run, close = (state == s.value for s in (State.IDLE, State.RUN, State.CLOSE))
        stop, tail = state == State.STOP.value, state == State.TAIL.value
        closed, ended = inside("closed"), inside("ended")
        taken, shown = inside("taken", "queue"), inside("shown", "serialiser")
        beats = inside("taken", "fifo")
        places = [inside(name, "queue") for name in ("push_row", "next_row")]
        depth, stored = self.spec.result_depth, inside("stored", "queue")
        behind = Signal(range(2 * depth))
        settle = control.settle
        moving = [*zip(range(1, len(coming) + 1), coming, strict=True)]
        moving += [*zip(range(len(pipeline), 0, -1), pipeline, strict=True)]
        m.d.comb += [
            Assert(state <= State.CLOSE.value),
            Assert(wait <= settle),
            Assert(control.run == ~(idle | close)),
            Assert(implies(idle | run, ~control.stop)),
            Assert(implies(stop | tail, control.stop)),
            Assert(implies(ended, closed)),
            Assert(implies(idle, ~closed & (taken == 0) & ~shown & (beats == 0))),
            Assert(implies(close, beats == 0)),
            Assert(implies(run & closed, taken == 0)),
            *(Assert(implies(tail | idle | close, ~moves)) for _, moves in moving),
            *(Assert(implies(stop & moves, wait + k > settle)) for k, moves in moving),
            Assert(implies(run & closed, ~Cat(coming).any())),
            Assert(implies(job.kind == INDICES, ~Cat(*pipeline, *coming).any() & ~shown)),
            *(Assert(place < depth) for place in places),
            behind.eq(places[1] + stored),
            Assert(places[0] == Mux(behind >= depth, behind - depth, behind)),
        ]
