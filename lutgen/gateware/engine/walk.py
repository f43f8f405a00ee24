"""Counters in each other: the loops of a job, with limits that come from registers."""

from amaranth.hdl import Const, Mux, Signal

from lutgen.numeric import clog2

__all__ = ["Walk"]


class Walk:
    """Nested counters, the innermost first; all go back to 0 after the last step.

    Parameters
    ----------
    m : Module
    step : Value
        Moves on by one.
    levels : list of (name, most, last)
        The most turns that a counter can make, and the number of its last turn: an integer or an
        expression, which may hang on the counters further out.

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
        self.last, self.ends = {}, {}
        within = Const(1)
        for key, _, last in levels:
            at = self.at[key]
            is_last = Signal(name=f"{name}_{key}_last")
            ends = Signal(name=f"{name}_{key}_ends")
            m.d.comb += [is_last.eq(at == last), ends.eq(is_last & within)]
            with m.If(step & within):
                m.d.sync += at.eq(Mux(is_last, 0, at + 1))
            self.last[key], self.ends[key] = is_last, ends
            within = ends
        self.final = within
