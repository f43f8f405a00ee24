"""A job from its start to its end: what runs when, and what happens when something is wrong."""

from amaranth.hdl import Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["JobControl"]

SETTLE = 16  # cycles after which nothing that had begun is still under way


class State(enum.Enum):
    """Where a job stands."""

    IDLE = 0
    RUN = 1
    STOP = 2  # failed: packets are swallowed
    TAIL = 3  # failed: the packet of results is ended
    CLOSE = 4  # all sides come to rest


class JobControl(wiring.Component):
    """The state of a job.

    Parameters
    ----------
    settle : int
        Cycles after which nothing that had begun is still under way.

    Members
    -------
    start, abort : In(1)
        Pulses; ``start`` only while not ``busy``.
    busy : Out(1)
    started, done : Out(1)
        Pulses.
    fault : In(1)
        Something is wrong; stays at least until ``stop``.
    inputs : In(1)
        All input packets have ended; after ``stop``, nothing is left of them.
    ended : In(1)
        The last beat of the results has been taken.
    active : In(1)
        The encoder side follows ``run``.
    run, stop, forced : Out(1)
        The job is under way; has failed; and its packets are not waited for.
    tail : Out(1)
        Results are to be ended.
    fresh : Out(1)
        Nothing is under way: everything begins anew.
    """

    def __init__(self, settle: int = SETTLE):
        self.settle = settle
        names = ("start", "abort", "fault", "inputs", "ended", "active")
        outputs = ("busy", "started", "done", "run", "stop", "forced", "tail", "fresh")
        super().__init__({**dict.fromkeys(names, In(1)), **dict.fromkeys(outputs, Out(1))})

    def elaborate(self, platform):
        m = Module()
        state = Signal(State, name="state")
        forced = Signal(name="was_forced")
        wait = Signal(range(self.settle + 1), name="wait")
        m.d.comb += [
            self.busy.eq(state != State.IDLE),
            self.run.eq((state != State.IDLE) & (state != State.CLOSE)),
            self.stop.eq((state == State.STOP) | (state == State.TAIL)),
            self.tail.eq(state == State.TAIL),
            self.fresh.eq(state == State.CLOSE),
            self.forced.eq(forced),
        ]
        with m.Switch(state):
            with m.Case(State.IDLE):
                m.d.sync += forced.eq(0)
                with m.If(self.start):
                    m.d.comb += self.started.eq(1)
                    m.d.sync += state.eq(State.RUN)
            with m.Case(State.RUN):
                m.d.sync += wait.eq(self.settle)
                with m.If(self.abort):
                    m.d.sync += [forced.eq(1), state.eq(State.STOP)]
                with m.Elif(self.fault):
                    m.d.sync += state.eq(State.STOP)
                with m.Elif(self.ended):
                    m.d.sync += state.eq(State.CLOSE)
            with m.Case(State.STOP):
                with m.If(self.abort):
                    m.d.sync += forced.eq(1)
                # The encoder side may still say that it has finished from before it was stopped.
                with m.If(wait != 0):
                    m.d.sync += wait.eq(wait - 1)
                with m.Elif(self.inputs):
                    m.d.sync += state.eq(State.TAIL)
            with m.Case(State.TAIL):
                with m.If(self.ended):
                    m.d.sync += state.eq(State.CLOSE)
            with m.Default():
                with m.If(~self.active):
                    m.d.comb += self.done.eq(1)
                    m.d.sync += state.eq(State.IDLE)
        return m
