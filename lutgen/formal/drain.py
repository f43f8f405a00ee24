"""Both sides of a job, on two clocks or one: nothing is left of it when the engine is idle."""

from itertools import pairwise
from types import SimpleNamespace

from amaranth.hdl import Assert, Assume, Const, EnableInserter, Module, Signal
from amaranth.lib.cdc import FFSynchronizer

from lutgen.formal.crossing import Clocks, CrossingProof
from lutgen.formal.harness import Inside, implies
from lutgen.gateware.crossing import AsyncFifo
from lutgen.gateware.engine.control import JobControl, State
from lutgen.gateware.engine.rest import Rest
from lutgen.spec.crossing import CrossingSpec

__all__ = ["DrainProof", "OneClockProof"]

DOWN = ("run", "stop", "forced")  # levels from the main side to the encoders'
UP = ("active", "finished", "drained", "faults")


class Level:
    """A level on its way to the other clock, through flip-flops that settle to anything they may.

    Parameters
    ----------
    m : Module
    source : Value
    tick, choice : Signal
        See `Clocks`.
    name : str

    Attributes
    ----------
    source, first, seen : Value
        The level, and what it is behind each of the flip-flops.
    near : Value
        What it is behind the first, or may settle to there.
    """

    def __init__(self, m, source, tick, choice, name):
        self.source, self.seen = source, Signal(name=f"{name}_seen")
        inner = Module()
        platform = Clocks({"sync": tick}, {"sync": choice})
        inside = Inside(inner, FFSynchronizer(source, self.seen, o_domain="sync"), platform)
        m.submodules[f"{name}_level"] = inner
        self.first, self.settling = inside("stage_0"), inside("settling")
        self.near = self.first | (self.settling & source)


class DrainProof(CrossingProof):
    """`JobControl` on the reading clock, `Rest` on the writing one, the levels between them, and
    the queue that rows of indices cross in, joined as in the engine.

    What is left open, within what the assumptions say: when jobs start, are aborted and fail; when
    packets end, where they should or not; when rows begin, how long they are under way, and whether
    the job takes them; when results end. A row says whether it is of an odd job or an even one.

    Parameters
    ----------
    spec : CrossingSpec
        Of width 1.
    control, rest, fifo : type
        The parts, or ones with a mistake in them.
    """

    ROWS = 2  # under way in the encoders, at most

    def __init__(self, spec: CrossingSpec, control=JobControl, rest=Rest, fifo=AsyncFifo):
        self.control, self.rest = control, rest
        free = ("start", "abort", "table_ends", "table_wrong", "ends", "wrong", "reserve")
        free += ("closes", "leaves", *(f"{name}_choice" for name in (*DOWN, *UP)))
        super().__init__(spec, fifo, **dict.fromkeys(free, 1))

    def build(self, m):
        fifo, inside = self.queue(m)
        control, rest = self.control(settle=1), self.rest(self.ROWS)
        main, side = self.read_tick, self.write_tick
        states, counts = Module(), Module()
        m.submodules.control, m.submodules.rest = states, counts
        state = Inside(states, EnableInserter(main)(control))("state")
        rows = Inside(counts, EnableInserter(side)(rest))("inside")
        faults = Signal()
        sources = {"run": control.run, "stop": control.stop, "forced": control.forced}
        sources |= {"active": rest.active, "finished": rest.finished, "drained": rest.drained}
        sources |= {"faults": faults}
        levels = {}
        for name, source in sources.items():
            choice, tick = getattr(self, f"{name}_choice"), side if name in DOWN else main
            levels[name] = Level(m, source, tick, choice, name)
        self._encoders(m, fifo, rest, levels, faults, rows)
        closed, tables = self._results(m, control, levels)
        m.d.comb += Assume(implies(~control.go, self.ready))  # what comes then is thrown away
        self._phases(m, state, levels, closed)
        self._failures(m, state, levels)
        self._truths(m, state, levels, tables, closed)
        self._rows(m, state, control, levels, fifo, inside, rows)

    def _encoders(self, m, fifo, rest, levels, faults, rows):
        """Packets that end, and rows that begin while they may and leave in any time."""
        self.ended, self.faulty, waiting = Signal(), Signal(), Signal(range(self.ROWS + 1))
        run, stop = levels["run"].seen, levels["stop"].seen
        handed = Signal()
        with m.If(self.write_tick):
            m.d.sync += [
                self.ended.eq(rest.active & (self.ended | self.ends)),
                self.faulty.eq(rest.active & (self.faulty | (self.wrong & ~self.ended))),
                faults.eq(rest.active & run & self.faulty),
                waiting.eq(waiting + self.reserve - handed),
            ]
        m.d.comb += [
            handed.eq(self.push & fifo.i.ready),
            Assume(implies(self.reserve, rest.active & run & ~stop & (waiting != self.ROWS))),
            Assume(implies(self.push, waiting != 0)),
            rest.run.eq(run),
            rest.stop.eq(stop),
            rest.forced.eq(levels["forced"].seen),
            rest.ended.eq(self.ended),
            rest.faulty.eq(self.faulty),
            rest.reserve.eq(self.reserve),
            rest.taken.eq(handed),
            rest.passed.eq(fifo.passed),
            Assert(rows == waiting),
        ]

    def _results(self, m, control, levels):
        """Tables that end, and results whose last beat begins and leaves when it may."""
        tables, closed, ended = Signal(), Signal(), Signal()
        closing = levels["finished"].seen & tables
        with m.If(self.read_tick):
            m.d.sync += [
                tables.eq(control.run & (tables | self.table_ends)),
                closed.eq(
                    ~control.fresh
                    & (closed | (self.closes & ((control.go & closing) | control.tail)))
                ),
                ended.eq(~control.fresh & (ended | (closed & self.leaves))),
            ]
        m.d.comb += [
            control.start.eq(self.start),
            control.abort.eq(self.abort),
            control.fault.eq(levels["faults"].seen | (self.table_wrong & ~tables)),
            control.drained.eq(levels["drained"].seen & (tables | control.forced)),
            control.ended.eq(ended),
            control.active.eq(levels["active"].seen),
            Assume(implies(self.start, ~control.busy)),
            Assert(implies(ended, closed)),
            Assert(implies(~control.busy, ~closed & ~tables)),
        ]
        return closed, tables

    def _phases(self, m, state, levels, closed):
        """Levels follow each other around: up after ``run``, and all of them down after it."""
        run, active = levels["run"], levels["active"]
        chain = [run.source, run.first, run.seen, active.source, active.first, active.seen]
        idle, close = state == State.IDLE.value, state == State.CLOSE.value
        m.d.comb += [
            Assert(state <= State.CLOSE.value),
            Assert(run.source == ~(idle | close)),
            *(Assert(implies(run.source & b, a)) for a, b in pairwise(chain)),
            *(Assert(implies(~run.source & a, b)) for a, b in pairwise(chain)),
            Assert(implies(idle, ~active.seen)),
            Assert(implies(closed, active.seen)),
            Assert(implies(state == State.TAIL.value, active.seen)),
        ]
        for name in ("finished", "drained", "faults"):
            level = levels[name]
            m.d.comb += [
                Assert(implies(level.source, active.source)),
                # None is seen before `active` is, and none in the next job.
                Assert(implies(run.source & level.near, active.first)),
                Assert(implies(run.source & level.seen, active.seen)),
                Assert(implies(~run.source & ~active.seen, ~level.first)),
                Assert(implies(idle, ~level.seen)),
            ]

    def _failures(self, m, state, levels):
        """A job is stopped once, and none for another."""
        run, active, stop = levels["run"], levels["active"], levels["stop"]
        m.d.comb += [
            Assert(implies(levels["forced"].source, stop.source)),
            Assert(implies((state == State.IDLE.value) | (state == State.RUN.value), ~stop.source)),
            Assert(implies((state == State.STOP.value) | (state == State.TAIL.value), stop.source)),
            Assert(implies(stop.source & active.source & ~run.source, stop.seen & stop.first)),
        ]
        for level in (stop, levels["forced"]):
            m.d.comb += [
                Assert(implies(level.source & run.seen & level.seen, level.first)),
                Assert(implies(run.source & ~level.source & run.near, ~level.first)),
                Assert(implies(run.source & ~level.source & run.seen, ~level.seen)),
                Assert(
                    implies(~run.source & ~level.source & active.source, ~level.first & ~level.seen)
                ),
            ]

    def _truths(self, m, state, levels, tables, closed):
        """What a side sees of the other is so."""
        run, stop, forced = levels["run"].source, levels["stop"], levels["forced"]
        finished, drained, faults = (levels[name] for name in ("finished", "drained", "faults"))
        tail = state == State.TAIL.value
        going = state == State.RUN.value
        m.d.comb += [
            Assert(implies(finished.source, self.ended & ~self.faulty)),
            Assert(implies(run & (finished.near | finished.seen), finished.source)),
            Assert(implies(run & (faults.near | faults.seen), self.faulty)),
            Assert(implies(faults.source, self.faulty)),
            Assert(implies(run & (drained.near | drained.seen), drained.source)),
            Assert(implies(drained.source, stop.source & stop.seen & stop.first)),
            Assert(
                implies(drained.source, self.ended | (forced.source & forced.seen & forced.first))
            ),
            # No error follows the beat that ends the results.
            Assert(implies(going & closed, finished.source & tables)),
            # A failed job ends once nothing is waited for any more.
            Assert(implies(tail, drained.source & (tables | forced.source))),
        ]

    def _rows(self, m, state, control, levels, fifo, inside, rows):
        """A job takes its own rows; between jobs there are none, and both sides know it."""
        active, drained = levels["active"], levels["drained"]
        odd = Signal()
        with m.If(self.read_tick & control.started):
            m.d.sync += odd.eq(~odd)
        idle, close = state == State.IDLE.value, state == State.CLOSE.value
        write, read = inside("write_count"), inside("read_count")
        stored = self._difference(m, write, read)
        cells = inside.rows("memory")
        m.d.comb += [
            Assume(implies(self.push, self.p == odd)),
            Assert(implies(~active.source | drained.source, (rows == 0) & fifo.passed)),
            Assert(implies(fifo.o.valid, fifo.o.p == odd)),
            *(
                Assert(implies(stored > k, cells[(read + k)[: len(read) - 1]] == odd))
                for k in range(self.spec.depth)
            ),
            Assert(implies(close & ~active.first, ~fifo.o.valid)),
            Assert(implies(close & active.settling & ~active.source, ~fifo.o.valid)),
            Assert(implies(idle, (write == read) & ~fifo.o.valid & (rows == 0))),
        ]
        # Both sides know it too.
        for name in ("to_read", "to_write"):
            for stage in range(2):
                known = self._count(m, inside(f"stage_{stage}", name))
                m.d.comb += Assert(implies(idle, known == write))


class OneClockProof(DrainProof):
    """The same where both sides have one clock, and rows go from hand to hand.

    Parameters
    ----------
    control, rest : type
        The parts, or ones with a mistake in them.
    """

    def __init__(self, control=JobControl, rest=Rest):
        super().__init__(CrossingSpec(1, 2), control, rest)

    def build(self, m):
        control, rest = self.control(settle=1), self.rest(self.ROWS)
        states, counts = Module(), Module()
        m.submodules.control, m.submodules.rest = states, counts
        state, rows = Inside(states, control)("state"), Inside(counts, rest)("inside")
        faults = Signal()
        sources = {"run": control.run, "stop": control.stop, "forced": control.forced}
        sources |= {"active": rest.active, "finished": rest.finished, "drained": rest.drained}
        levels = {name: SimpleNamespace(seen=level) for name, level in sources.items()}
        levels["faults"] = SimpleNamespace(seen=faults)
        hands = SimpleNamespace(i=SimpleNamespace(ready=self.ready), passed=Const(1))
        m.d.comb += [
            Assume(self.write_tick & self.read_tick),
            Assume(implies(~control.go, self.ready)),
        ]
        self._encoders(m, hands, rest, levels, faults, rows)
        closed, tables = self._results(m, control, levels)
        idle, close = state == State.IDLE.value, state == State.CLOSE.value
        going, tail = state == State.RUN.value, state == State.TAIL.value
        run, active, drained = control.run, rest.active, rest.drained
        m.d.comb += [
            Assert(state <= State.CLOSE.value),
            Assert(run == ~(idle | close)),
            Assert(implies(idle | going, ~control.stop)),
            Assert(implies(run & ~going, control.stop)),
            Assert(implies(control.forced, control.stop)),
            Assert(implies(rest.finished | drained | faults, active)),
            Assert(implies(closed | tail, active | close)),
            Assert(implies(idle | control.done, ~active)),
            Assert(implies(~active | drained, rows == 0)),
            Assert(implies(rest.finished, self.ended & ~self.faulty)),
            Assert(implies(drained, control.stop & (self.ended | control.forced))),
            Assert(implies(faults, self.faulty)),
            Assert(implies(going & closed, rest.finished & tables)),
            Assert(implies(tail, drained & (tables | control.forced))),
        ]
