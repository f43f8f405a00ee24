"""A core behind its link: all of a board's logic but pins, clock and reset."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from lutgen.gateware.link.link import Link
from lutgen.gateware.verilog import convert
from lutgen.spec.link import LinkSpec, link_spec

__all__ = ["BoardComponent", "BoardCore", "board_core"]

FROM_LINK = ("s_axis_tdata", "s_axis_tvalid", "s_axis_tlast", "m_axis_tready")
TO_LINK = ("s_axis_tready", "m_axis_tdata", "m_axis_tvalid", "m_axis_tlast", "frame_error")
FROM_LINK_LOAD = ("l_axis_tdata", "l_axis_tvalid", "l_axis_tlast")
TO_LINK_LOAD = ("l_axis_tready", "loaded", "load_error")


def pins():
    """Members of what stands between a board's pins."""
    return {
        "rx": In(1, init=1),
        "tx": Out(1, init=1),
        "busy": Out(1),
        "error": Out(1),
    }


class LinkedCore(wiring.Component):
    """The link and an instance of the core; members as those of `BoardComponent`.

    Parameters
    ----------
    spec : LinkSpec
    contract : mapping
    """

    def __init__(self, spec: LinkSpec, contract: Mapping[str, Any]):
        self.spec = spec
        self.contract = contract
        super().__init__(pins())

    def elaborate(self, platform):
        m = Module()
        m.submodules.link = link = Link(self.spec)
        loads = self.spec.load_words > 0
        ports = {f"i_{n}": getattr(link, n) for n in FROM_LINK + FROM_LINK_LOAD * loads}
        ports |= {f"o_{n}": getattr(link, n) for n in TO_LINK + TO_LINK_LOAD * loads}
        ports[f"i_{self.contract['clock']}"] = ClockSignal()
        ports[f"i_{self.contract['reset']}"] = ResetSignal() | link.core_reset
        m.submodules.core = Instance(self.contract["name"], **ports)
        m.d.comb += [
            link.rx.eq(self.rx),
            self.tx.eq(link.tx),
            self.busy.eq(link.busy),
            self.error.eq(link.error),
        ]
        return m


@dataclass(frozen=True)
class BoardCore:
    """A core behind its link.

    Attributes
    ----------
    spec : LinkSpec
    name : str
        The top module. Its ports are ``clk``, ``rst`` (synchronous, high), ``rx`` (needs no
        synchroniser), ``tx`` (from a register), and ``busy`` and ``error`` for lamps; see `Link`.
    verilog : str
        Of the top module and all below it.
    contract : dict
        The core's, and the link's as its field ``link``.
    """

    spec: LinkSpec
    name: str
    verilog: str
    contract: dict[str, Any]

    def component(self) -> "BoardComponent":
        """An instance of it for a board's platform."""
        return BoardComponent(self)


class BoardComponent(wiring.Component):
    """A `BoardCore` in the domain ``sync`` of a board's platform, which gets its Verilog as a file.
    Clock and reset are the platform's; the clock must be that of the core's spec.

    Parameters
    ----------
    core : BoardCore

    Members
    -------
    rx : In(1)
    tx, busy, error : Out(1)
    """

    def __init__(self, core: BoardCore):
        self.core = core
        super().__init__(pins())

    def elaborate(self, platform):
        if not hasattr(platform, "add_file"):
            raise TypeError("BoardComponent must have a board's platform: simulate its Verilog")
        m = Module()
        platform.add_file(f"{self.core.name}.v", self.core.verilog)
        m.submodules.board = Instance(
            self.core.name,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            i_rx=self.rx,
            o_tx=self.tx,
            o_busy=self.busy,
            o_error=self.error,
        )
        return m


def board_core(
    verilog: str,
    contract: Mapping[str, Any],
    *,
    clock_hz: int,
    baud: int,
    buffer: int | None = None,
    results: int = 256,
) -> BoardCore:
    """A core behind a link.

    Parameters
    ----------
    verilog, contract
        Of a `lutgen.gateware.build.Core`, or read from its files.
    clock_hz, baud : int
        A bit must last at least four cycles.
    buffer, results : int
        Bytes of the buffers before and behind the core; see `lutgen.spec.link.LinkSpec`. By
        default the first holds two samples, if they are small.

    Raises
    ------
    ValueError, TypeError
        If an option is out of range.
    """
    spec = link_spec(contract, clock_hz=clock_hz, baud=baud, buffer=buffer, results=results)
    name = f"{contract['name']}_board"
    text = f"{convert(LinkedCore(spec, contract), name)}\n{verilog}"
    return BoardCore(spec, name, text, {**contract, "link": {"module": name, **spec.fields}})
