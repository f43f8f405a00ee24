"""Counters in each other: the loops of a job, with limits that come from registers."""

from amaranth.hdl import Const, Mux, Signal

from lutgen.numeric import clog2

__all__ = ["SIZE", "Walk"]

SIZE = 1 << 16  # blocks and tiles of a job, at most


class Walk:
    """Nested counters, the innermost first; all go back to 0 after the last step.

    Parameters
    ----------
    m : Module
    step : Value
        Moves on by one.
    levels : list of (name, most, last)
        The most turns that a counter can make, and the number of its last turn: an integer or an
        expression; or two of them, the second for the last turn of the outermost counter, as the
        last block of a job may have fewer rows.

    Attributes
    ----------
    at : dict of str to Signal
        Every counter.
    first, last : dict of str to Value
        Whether it is in its first, or last, turn.
    ends : dict of str to Signal
        Whether it and all within it are in their last.
    """

    def __init__(self, m, step, levels, *, name="walk"):
        self.at = {
            key: Signal(max(1, clog2(most)), name=f"{name}_{key}") for key, most, _ in levels
        }
        self.first = {key: at == 0 for key, at in self.at.items()}
        self.last = {key: Signal(name=f"{name}_{key}_last") for key, _, _ in levels}
        self.ends = {}
        outermost = self.last[levels[-1][0]]
        within = Const(1)
        for key, _, last in levels:
            at, is_last = self.at[key], self.last[key]
            if isinstance(last, tuple):
                last = Mux(outermost, last[1], last[0])
            ends = Signal(name=f"{name}_{key}_ends")
            m.d.comb += [is_last.eq(at == last), ends.eq(is_last & within)]
            with m.If(step & within):
                m.d.sync += at.eq(Mux(is_last, 0, at + 1))
            self.ends[key] = ends
            within = ends
        self.final = within
