"""A table in memory: one read port, contents fixed or written by the loader."""

from typing import NamedTuple

from amaranth.hdl import Assert, Const, Format, Module, Mux, Signal, Value, unsigned
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from lutgen.gateware.tree import position_bits

__all__ = ["Buffer", "LoadPort", "Port", "Store", "TablePort"]


class Port(NamedTuple):
    """One side of a memory.

    Attributes
    ----------
    verb : str
        ``read`` or ``written``.
    domain : str
        Its clock domain.
    en, addr : Value
        The row ``addr`` is, in every cycle with ``en`` high.
    """

    verb: str
    domain: str
    en: Value
    addr: Value


class LoadPort(wiring.Signature):
    """The writing side of a memory: a row is written in every cycle with ``en`` high.

    Parameters
    ----------
    depth, width : int
        Rows, and bits of a row.
    """

    def __init__(self, depth: int, width: int):
        self.depth = depth
        self.width = width
        super().__init__({"en": Out(1), "addr": Out(position_bits(depth)), "data": Out(width)})


class TablePort(wiring.Signature):
    """The loader's side of a table: it writes rows, and reads them back through the table's one
    read port.

    Parameters
    ----------
    depth, width : int
        Rows, and bits of a row.

    Members
    -------
    borrow : Out(1)
        The read port is the loader's. Must be high in all cycles with ``en`` high.
    reads : Out(1)
        While it is, the row ``addr`` is read, but for cycles with ``en``.
    en : Out(1)
        Row ``addr`` is written.
    addr, data : Out
    back : In
        The row that was read in the cycle before.
    differs : In(1)
        The row has copies, and they are not the same.
    """

    def __init__(self, depth: int, width: int):
        self.depth = depth
        self.width = width
        super().__init__(
            {
                "borrow": Out(1),
                "reads": Out(1),
                "en": Out(1),
                "addr": Out(position_bits(depth)),
                "data": Out(width),
                "back": In(width),
                "differs": In(1),
            }
        )


class Store(wiring.Component):
    """A memory whose row ``addr`` appears on ``data`` in the cycle after one with ``en`` high.

    A memory of one row needs no memory: it is a constant, or a register.

    Whoever enables a port must give it the address of a row. Simulations and proofs check that: see
    `claims`.

    Parameters
    ----------
    depth, width : int
        Rows, and bits of a row.
    rows : list of int or None
        Contents, for a ROM; None for a RAM, which then has a ``load`` port. Nothing relies on a
        RAM's contents before they are loaded.

    Members
    -------
    en : In(1)
    addr : In
    data : Out
    load : In(TablePort)
        RAM only.

    Attributes
    ----------
    template : str
        The file in `rtl_templates/` that stands for it in Verilog.
    """

    both = spare = False
    domain = load_domain = "sync"

    def __init__(self, depth: int, width: int, rows: list[int] | None):
        self.template = "ram.v.j2" if rows is None else "rom.v.j2"
        if rows is not None and len(rows) != depth:
            raise ValueError(f"Contents must have {depth} rows, not {len(rows)}")
        if rows is not None and not all(0 <= row < 1 << width for row in rows):
            raise ValueError(f"Contents must be rows of {width} bits")
        self.depth = depth
        self.width = width
        self.rows = rows
        members = {"en": In(1), "addr": In(position_bits(depth)), "data": Out(width)}
        if rows is None:
            members["load"] = In((LoadPort if self.both else TablePort)(depth, width))
        super().__init__(members)

    def ports(self) -> list[Port]:
        """The sides of the memory, reading first."""
        reads, row = self.en, self.addr
        if self.rows is not None:
            return [Port("read", self.domain, reads, row)]
        load = self.load
        if not self.both:
            reads = Mux(load.borrow, load.reads, self.en) & ~load.en
            row = Mux(load.borrow, load.addr, self.addr)
        return [
            Port("read", self.domain, reads, row),
            Port("written", self.load_domain, load.en, load.addr),
        ]

    def claims(self) -> list[tuple[str, Value, Format]]:
        """What must hold in every cycle: a clock domain, one bit, and what to say where it does
        not.
        """
        ports = self.ports()
        claims = [
            (
                port.domain,
                ~port.en | (port.addr < self.depth),
                Format(f"row {{}} of {self.depth} rows is {port.verb}", port.addr),
            )
            for port in ports
            if self.depth < 1 << len(port.addr)
        ]
        if self.both and not self.spare:
            read, written = ports
            same = read.en & written.en & (read.addr == written.addr)
            text = Format("row {} is read while it is written", read.addr)
            claims.append((read.domain, ~same, text))
        return claims

    def elaborate(self, platform):
        m = Module()
        if platform is None:  # Amaranth's simulator
            for domain, claim, text in self.claims():
                m.d[domain] += Assert(claim, text)
        elif hasattr(platform, "claim"):
            for _, claim, _ in self.claims():
                platform.claim(m, claim)
        if self.rows is None and not self.both:
            m.d.comb += self.load.back.eq(self.data)
        if self.depth == 1:
            if self.rows is not None:
                m.d.comb += self.data.eq(Const(self.rows[0], self.width))
            else:
                only = Signal(self.width, name="only", reset_less=True)
                with m.If(self.load.en):
                    m.d[self.load_domain] += only.eq(self.load.data)
                m.d.comb += self.data.eq(only)
            return m
        if platform is not None:
            m.submodules.memory = platform.store(self)
            return m
        m.submodules.memory = memory = Memory(
            shape=unsigned(self.width), depth=self.depth, init=self.rows or []
        )
        read = memory.read_port(domain=self.domain)
        m.d.comb += self.data.eq(read.data)
        sides = [read]
        if self.rows is None:
            write = memory.write_port(domain=self.load_domain)
            m.d.comb += write.data.eq(self.load.data)
            sides.append(write)
        for side, port in zip(sides, self.ports(), strict=True):
            m.d.comb += [side.en.eq(port.en), side.addr.eq(port.addr)]
        return m


class Buffer(Store):
    """A RAM that is written and read in the same cycle, but never in the same row, unless it is a
    row that nobody uses (``spare``).

    Parameters and members are those of a `Store` without contents; ``load`` is a `LoadPort`.

    Parameters
    ----------
    load_domain, domain : str
        Clock domains of the writing and of the reading side.
    spare : bool
        Whether rows are read that nobody uses: those may be the ones that are written, and then
        ``data`` is anything.
    """

    # A `Store` is never written and read at once: without that, block RAMs cost a bypass of
    # flip-flops. Here rows that differ are what makes the bypass needless.
    both = True

    def __init__(
        self,
        depth: int,
        width: int,
        *,
        load_domain: str = "sync",
        domain: str = "sync",
        spare: bool = False,
    ):
        super().__init__(depth, width, None)
        self.template = "buffer.v.j2"
        self.load_domain = load_domain
        self.domain = domain
        self.spare = spare
