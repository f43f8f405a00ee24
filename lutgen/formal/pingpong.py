"""Two halves that take turns: none is used before it is full, none is filled while it is read."""

from amaranth.hdl import Array, Assert, Assume, Const, Mux, Signal

from lutgen.formal.harness import Inside, Marked, Proof, implies
from lutgen.gateware.pingpong import PingPong

__all__ = ["PingPongProof"]


class PingPongProof(Proof):
    """A filler that writes and completes the half it is offered, and a user that reads and releases
    the one that it is offered, whenever they like.

    A half is one word, which may be written in any cycle with ``space``, and is read in every cycle
    in which it may be: while it is offered for use, and for ``drain`` cycles after.

    Parameters
    ----------
    drain : int
    part : type
        `PingPong`, or one with a mistake in it.
    """

    def __init__(self, drain: int, part: type = PingPong):
        self.drain = drain
        self.part = part
        super().__init__({"filled": 1, "release": 1, "write": 1, "word": 2, "mark": 1})

    def build(self, m):
        control = self.part(self.drain)
        inside = Inside(m, control)
        m.d.comb += [
            control.filled.eq(self.filled),
            control.release.eq(self.release),
            Assume(implies(self.filled | self.write, control.space)),
            Assume(implies(self.release, control.full)),
        ]
        words = Array(Signal(2, name=f"word_{half}") for half in range(2))
        written = Signal(2)
        m.d.comb += written.eq(Mux(self.write, self.word, words[control.fill]))
        m.d.sync += words[control.fill].eq(written)
        # What is filled comes out as it was when it was complete, in order.
        queue = Marked(
            m,
            2,
            push=self.filled,
            mark=self.mark,
            pop=self.release,
            i=written,
            o=words[control.use],
        )
        marked_half = Signal()
        m.d.comb += [
            marked_half.eq(control.use ^ queue.ahead[0]),
            Assert(implies(queue.there, words[marked_half] == queue.value)),
            Assert(implies(control.space & control.full, control.fill != control.use)),
        ]
        draining = self._drain(m, inside, control, queue, words)
        taken = Signal(range(self.drain + 3))
        m.d.comb += [
            taken.eq(queue.level + draining),
            Assert(taken <= 2),
            Assert(inside("full_halves") == queue.level),
            Assert(inside("free_halves") == 2 - taken),
            # They take turns: those that are full, from `use` on, then the one to be filled.
            Assert(control.fill == control.use ^ queue.level[0]),
            # Progress, exact in both directions: what is full is offered, in the next cycle if
            # nothing was in use before it, and what is free is.
            Assert(control.full == (queue.level != 0)),
            Assert(control.space == (taken != 2)),
        ]
        self._turns(m, control)

    def _drain(self, m, inside, control, queue, words):
        """Halves that were released and are still read: how many."""
        draining = Const(0, 1)
        valid, half, kept = self.release, control.use, words[control.use]
        for k in range(1, self.drain + 1):
            # The half that was released k cycles ago, and what it held.
            was_valid, was_half, was_kept = valid, half, kept
            valid, half = Signal(name=f"drains_{k}"), Signal(name=f"drains_half_{k}")
            kept = Signal(2, name=f"drains_word_{k}")
            m.d.sync += [valid.eq(was_valid), half.eq(was_half), kept.eq(was_kept)]
            later = Signal(name=f"drains_later_{k}")  # an odd number was released since
            m.d.comb += [
                later.eq(draining[0]),
                Assert(implies(valid, words[half] == kept)),
                Assert(implies(valid & control.space, control.fill != half)),
                Assert(implies(valid, half == ~(control.use ^ later))),
                Assert(inside(f"released_{k}") == valid),
            ]
            draining = draining + valid
        # In the cycle after, it is offered, unless the other half is free and so comes first.
        freed, freed_half = Signal(), Signal()
        m.d.sync += [freed.eq(valid), freed_half.eq(half)]
        m.d.comb += [
            Assert(implies(freed, control.space)),
            Assert(
                implies(
                    freed & (control.fill != freed_half),
                    (inside("free_halves") == 2) & (queue.level == 0),
                )
            ),
            Assert(implies(freed, freed_half == ~(control.use ^ draining[0]))),
        ]
        return draining

    def _turns(self, m, control):
        """Halves alternate, beginning with 0."""
        for name, event, half in (
            ("fills", self.filled, control.fill),
            ("uses", self.release, control.use),
        ):
            turn = Signal(name=f"{name}_odd")
            m.d.sync += turn.eq(turn ^ event)
            m.d.comb += Assert(half == turn)
