"""The encoder side's part in a job's beginning and end: it comes to rest with nothing left."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Rest"]


class Rest(wiring.Component):
    """Follows a job's levels, and answers once what they ask for is so.

    ``run`` and ``active`` are a four-phase handshake, ``stop`` and ``drained`` another one inside
    it: rows of indices that have begun go out and are counted, so that an answer says that none is
    left on its way. All levels that go to the other side come from registers.

    Parameters
    ----------
    depth : int
        The most rows of indices that have begun and not been handed over.

    Members
    -------
    run : In(1)
        A job is under way.
    stop, forced : In(1)
        It has failed, and its packets are not waited for; both stay until ``active`` falls.
    ended : In(1)
        All packets have ended; stays until ``active`` falls.
    faulty : In(1)
        One of them not where it should; from ``ended`` on at the latest.
    reserve, taken : In(1)
        A row begins; one is handed over.
    passed : In(1)
        What was handed over has arrived.
    active : Out(1)
        Follows ``run``, down only when nothing is left. While it is low, nothing may begin.
    finished : Out(1)
        All packets have ended where they should.
    drained : Out(1)
        The job was stopped, its packets have ended or are not waited for, and nothing is left.
    """

    def __init__(self, depth: int):
        self.depth = depth
        inputs = ("run", "stop", "forced", "ended", "faulty", "reserve", "taken", "passed")
        outputs = ("active", "finished", "drained")
        super().__init__({**dict.fromkeys(inputs, In(1)), **dict.fromkeys(outputs, Out(1))})

    def elaborate(self, platform):
        m = Module()
        inside = Signal(range(self.depth + 1), name="inside")  # rows begun and not handed over
        quiet, stays = Signal(name="quiet"), Signal(name="stays")
        m.d.comb += [
            quiet.eq(self._quiet(inside)),
            stays.eq(self.active & (self.run | ~quiet)),
        ]
        m.d.sync += [
            inside.eq(inside + self.reserve - self.taken),
            self.active.eq(self.run | stays),
            self.finished.eq(stays & self.ended & ~self.faulty),
            self.drained.eq(stays & self.stop & (self.ended | self.forced) & quiet),
        ]
        return m

    def _quiet(self, inside):
        """Whether no row is on its way."""
        return (inside == 0) & self.passed
