"""What all proofs share: a top without reset, a look inside a part, a mark on one entry of many."""

from amaranth.hdl import Array, Assert, Assume, ClockDomain, Const, Fragment, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

__all__ = ["Inside", "Marked", "Proof", "Rows", "implies", "stalls"]


def implies(condition, claim):
    """``claim`` wherever ``condition``; both of one bit."""
    return ~condition | claim


class Proof(wiring.Component):
    """A part with all that a proof says of it.

    There is no reset: the first state is the one after a reset, and induction starts from any state
    that the assertions allow. Assertions are therefore of two kinds: properties, and invariants
    that say which states can come about.

    Parameters
    ----------
    members : dict
        Inputs, free in every cycle but for what `build` assumes.
    """

    def __init__(self, members):
        super().__init__({"clk": In(1), **{name: In(shape) for name, shape in members.items()}})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = domain = ClockDomain(reset_less=True)
        # A port, else the clock would never tick and every assertion hold.
        m.d.comb += domain.clk.eq(self.clk)
        self.build(m)
        return m

    def build(self, m):
        """Adds the part, assumptions and assertions."""
        raise NotImplementedError


class Rows:
    """Stands for a platform: memories are registers, so that invariants can speak of their rows.

    Every memory of a part, whatever it holds and wherever it stands, is among the assertions: see
    `lutgen.gateware.memory.Store.claims`.
    """

    def claim(self, m, claim):
        """Asserts what a memory relies on."""
        m.d.comb += Assert(claim)

    def store(self, store):
        """See `lutgen.gateware.verilog.VerilogPlatform.store`."""
        m = Module()
        fixed = store.rows is not None
        rows = [
            Const(store.rows[k], store.width) if fixed else Signal(store.width, name=f"row_{k}")
            for k in range(store.depth)
        ]
        read, *written = store.ports()
        with m.If(read.en):
            m.d[read.domain] += store.data.eq(Array(rows)[read.addr])
        for port in written:
            with m.If(port.en):
                m.d[port.domain] += Array(rows)[port.addr].eq(store.load.data)
        return m


class Inside:
    """A part, added to a module, whose inner signals can be had by name.

    Parameters
    ----------
    m : Module
    part : Elaboratable
    platform : Rows or None
    """

    def __init__(self, m, part, platform=None):
        self._fragment = Fragment.get(part, platform or Rows())
        m.submodules.part = self._fragment

    def __call__(self, name: str, *path: str) -> Signal:
        """The signal ``name`` that is driven in the submodule at ``path``."""
        fragment = self._fragment
        for part in path:
            fragment = fragment.find_subfragment(part)
        for statements in fragment.statements.values():
            for signal in statements._lhs_signals():
                if signal.name == name:
                    return signal
        raise KeyError(name)

    def rows(self, *path: str) -> Array:
        """The rows of the memory at ``path``."""
        rows = []
        while True:
            try:
                rows.append(self(f"row_{len(rows)}", *path, "memory"))
            except KeyError:
                return Array(rows)


class Marked:
    """One of the entries that pass through a queue, whichever ``mark`` picks, followed until it
    comes out.

    As any entry may be picked, what holds for it holds for all: none is lost, none comes twice,
    and all come in order, if the marked one comes out just when those before it have.

    Parameters
    ----------
    m : Module
    depth : int
        Entries that the queue holds at most.
    push, mark, pop : Value
    i, o : Value
        What is pushed, what is popped.
    """

    def __init__(self, m, depth: int, *, push, mark, pop, i, o, name="marked"):
        self.level = Signal(range(depth + 1), name=f"{name}_level")
        self.there = Signal(name=f"{name}_there")
        self.ahead = Signal(range(depth + 1), name=f"{name}_ahead")
        self.value = Signal(len(i), name=f"{name}_value")
        m.d.sync += self.level.eq(self.level + push - pop)
        with m.If(push & mark & ~self.there):
            m.d.sync += [self.there.eq(1), self.value.eq(i), self.ahead.eq(self.level - pop)]
        with m.If(self.there & pop):
            m.d.sync += [self.ahead.eq(self.ahead - 1), self.there.eq(self.ahead != 0)]
        m.d.comb += [
            Assert(implies(self.there & pop & (self.ahead == 0), o == self.value)),
            Assert(implies(pop, self.level != 0)),
            Assert(self.level <= depth),
            Assert(implies(self.there, self.ahead < self.level)),
        ]


def stalls(m, stream, *, assume: bool = False, name: str):
    """Claims, or assumes, that what a stream offers stays until it is taken; gives a mark of the
    cycles in which something waits.
    """
    claim = Assume if assume else Assert
    payload = stream.p if isinstance(stream.p, Signal) else stream.p.as_value()
    waited, before = Signal(name=f"{name}_waited"), Signal(len(payload), name=f"{name}_before")
    m.d.sync += [waited.eq(stream.valid & ~stream.ready), before.eq(payload)]
    m.d.comb += claim(implies(waited, stream.valid & (payload == before)))
    return waited
