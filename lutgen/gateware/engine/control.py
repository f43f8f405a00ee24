"""A job from its start to its end: what runs when, and what happens when something is wrong."""

from amaranth.hdl import Module, Signal
from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["JobControl"]


class State(enum.Enum):
    """Where a job stands."""

    IDLE = 0
    RUN = 1
    STOP = 2  # failed: packets are swallowed
    TAIL = 3  # failed: the packet of results is ended
    CLOSE = 4  # all sides come to rest


class JobControl(wiring.Component):
    """The state of a job.

    A job that fails is stopped: nothing new begins, its packets are swallowed, what had begun runs
    out and is thrown away, and the packet of results is ended. Only then, as after a job that went
    right, both sides come to rest, and the engine is idle.

    Parameters
    ----------
    settle : int
        Cycles after which nothing that had begun on this side is still under way.

    Members
    -------
    start, abort : In(1)
        Pulses; ``start`` only while not ``busy``.
    busy : Out(1)
    started, done : Out(1)
        Pulses.
    held : In(1)
        The encoder side is in reset: counts as ``busy``.
    fault : In(1)
        Something is wrong; stays at least until ``stop``.
    drained : In(1)
        After ``stop``: no input packet is waited for, and nothing is left of them. Whatever comes
        from the encoder side while this one does not ``go`` has been thrown away.
    ended : In(1)
        The last beat of the results has been taken.
    active : In(1)
        The encoder side follows ``run``.
    run, stop, forced : Out(1)
        The job is under way; has failed; and its packets are not waited for. The latter two stay
        until ``active`` has fallen.
    go : Out(1)
        It is under way and has not failed.
    tail : Out(1)
        Results are to be ended.
    fresh : Out(1)
        Nothing is under way: everything begins anew.
    """

    def __init__(self, settle: int):
        self.settle = settle
        names = ("start", "abort", "held", "fault", "drained", "ended", "active")
        outputs = ("busy", "started", "done", "run", "stop", "forced", "go", "tail", "fresh")
        super().__init__({**dict.fromkeys(names, In(1)), **dict.fromkeys(outputs, Out(1))})

    def elaborate(self, platform):
        m = Module()
        state = Signal(State, name="state")
        # What goes to the other side comes from registers.
        running = Signal(name="running")
        failed, forced = Signal(name="has_failed"), Signal(name="was_forced")
        wait = Signal(range(self.settle + 1), name="wait")
        m.d.comb += [
            self.busy.eq((state != State.IDLE) | self.held),
            self.run.eq(running),
            self.go.eq(state == State.RUN),
            self.stop.eq(failed),
            self.tail.eq(state == State.TAIL),
            self.fresh.eq(state == State.CLOSE),
            self.forced.eq(forced),
        ]
        with m.Switch(state):
            with m.Case(State.IDLE):
                with m.If(self.start & ~self.held):
                    m.d.comb += self.started.eq(1)
                    m.d.sync += [running.eq(1), state.eq(State.RUN)]
            with m.Case(State.RUN):
                m.d.sync += wait.eq(self.settle)
                with m.If(self.abort | self.fault):
                    m.d.sync += [failed.eq(1), forced.eq(self.abort), state.eq(State.STOP)]
                with m.Elif(self.ended):
                    m.d.sync += [running.eq(0), state.eq(State.CLOSE)]
            with m.Case(State.STOP):
                with m.If(self.abort):
                    m.d.sync += forced.eq(1)
                with m.If(wait != 0):
                    m.d.sync += wait.eq(wait - 1)
                with m.Elif(self._runs_out()):
                    m.d.sync += state.eq(State.TAIL)
            with m.Case(State.TAIL):
                with m.If(self.ended):
                    m.d.sync += [running.eq(0), state.eq(State.CLOSE)]
            with m.Default():
                with m.If(~self.active):
                    m.d.comb += self.done.eq(1)
                    m.d.sync += [failed.eq(0), forced.eq(0), state.eq(State.IDLE)]
        return m

    def _runs_out(self):
        """Whether nothing is waited for any more, on any side."""
        return self.drained
