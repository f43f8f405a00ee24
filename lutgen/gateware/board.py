"""What stands around a core on a board: clock, reset, pins."""

from collections.abc import Mapping
from typing import Any

from amaranth.build import ResourceError
from amaranth.hdl import (
    ClockDomain,
    ClockSignal,
    Const,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Signal,
)
from amaranth.lib import io
from amaranth.lib.cdc import FFSynchronizer

from lutgen.spec.pll import Ecp5Pll, Ice40Pll

__all__ = ["BoardTop"]

# Cycles of reset after configuration. An iCE40's block RAMs can't be read in the first
# microseconds, which no simulation shows.
HOLD_BITS = 10


class BoardTop(Elaboratable):
    """A board's top: the module of `lutgen.gateware.link.top.board_core` on a platform of
    amaranth-boards.

    Parameters
    ----------
    inner : str
        The module with the ports ``clk, rst, rx, tx, busy, error``.
    pll : Ice40Pll, Ecp5Pll or None
        None for the board's own clock.
    uart : mapping
        Of `lutgen.flows.fpga.boards`: the resource, its number.
    pad : bool
        Whether the oscillator's pin is the one that feeds an iCE40's loop by itself.
    """

    def __init__(
        self,
        inner: str,
        pll: Ice40Pll | Ecp5Pll | None,
        uart: Mapping[str, Any],
        *,
        pad: bool = False,
    ):
        self.inner = inner
        self.pll = pll
        self.uart = uart
        self.pad = pad

    def elaborate(self, platform):
        m = Module()
        clock, locked = self._clock(m, platform)
        m.domains.sync = ClockDomain()
        m.domains.por = ClockDomain(reset_less=True)
        m.d.comb += [ClockSignal().eq(clock), ClockSignal("por").eq(clock)]

        asked = Const(0)
        if platform.default_rst is not None:
            button = io.Buffer("i", platform.request(platform.default_rst, dir="-"))
            m.submodules.button = button
            asked = button.i
        wait = Signal()
        m.submodules.wait_sync = FFSynchronizer(~locked | asked, wait, o_domain="por")
        held = Signal(HOLD_BITS)
        with m.If(wait):
            m.d.por += held.eq(0)
        with m.Elif(~held.all()):
            m.d.por += held.eq(held + 1)
        reset = Signal(init=1)
        m.d.por += reset.eq(~held.all())
        m.d.comb += ResetSignal().eq(reset)

        name, number = self.uart["name"], self.uart["number"]
        pins = platform.request(name, number, dir=dict.fromkeys(self.uart["signals"], "-"))
        m.submodules.rx_pin = rx_pin = io.Buffer("i", pins.rx)
        m.submodules.tx_pin = tx_pin = io.Buffer("o", pins.tx)
        rx, tx = Signal(init=1), Signal()
        m.submodules.rx_sync = FFSynchronizer(rx_pin.i, rx, init=1)
        m.d.comb += tx_pin.o.eq(tx)
        busy, error = Signal(), Signal()
        m.submodules.core = Instance(
            self.inner,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(),
            i_rx=rx,
            o_tx=tx,
            o_busy=busy,
            o_error=error,
        )
        for pin, shown in zip(self._lamps(platform), (busy, error), strict=False):
            lamp = io.Buffer("o", pin)
            m.submodules += lamp
            m.d.comb += lamp.o.eq(shown)
        return m

    def _clock(self, m, platform):
        """The clock that all runs on, and whether it is steady."""
        pin = platform.request(platform.default_clk, dir="-")
        locked, clock = Signal(), Signal()
        if isinstance(self.pll, Ice40Pll) and self.pad:
            self._ice40(m, "SB_PLL40_PAD", "i_PACKAGEPIN", pin.io, clock, locked)
            return clock, locked
        m.submodules.clock_pin = buffer = io.Buffer("i", pin)
        if self.pll is None:
            return buffer.i, Const(1)
        if isinstance(self.pll, Ice40Pll):
            self._ice40(m, "SB_PLL40_CORE", "i_REFERENCECLK", buffer.i, clock, locked)
            return clock, locked
        if not isinstance(self.pll, Ecp5Pll):
            raise TypeError(f"Loop must be that of an iCE40 or an ECP5, not {self.pll!r}")
        m.submodules.pll = Instance(
            "EHXPLLL",
            p_CLKI_DIV=self.pll.ref,
            p_CLKFB_DIV=self.pll.feedback,
            p_CLKOP_DIV=self.pll.out,
            p_CLKOP_CPHASE=self.pll.out - 1,
            p_CLKOP_FPHASE=0,
            p_CLKOP_ENABLE="ENABLED",
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=buffer.i,
            i_CLKFB=clock,
            i_RST=0,
            i_STDBY=0,
            i_PHASESEL0=0,
            i_PHASESEL1=0,
            i_PHASEDIR=0,
            i_PHASESTEP=0,
            i_PHASELOADREG=0,
            i_PLLWAKESYNC=0,
            i_ENCLKOP=0,
            o_CLKOP=clock,
            o_LOCK=locked,
        )
        return clock, locked

    def _ice40(self, m, cell, port, source, clock, locked):
        m.submodules.pll = Instance(
            cell,
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=self.pll.divr,
            p_DIVF=self.pll.divf,
            p_DIVQ=self.pll.divq,
            p_FILTER_RANGE=self.pll.filter_range,
            i_RESETB=1,
            i_BYPASS=0,
            o_PLLOUTGLOBAL=clock,
            o_LOCK=locked,
            **{port: source},
        )

    @staticmethod
    def _lamps(platform):
        """Pins of up to two lamps: busy, error."""
        have = platform.resources
        try:
            if ("led", 0) in have:
                return [platform.request("led", k, dir="-") for k in range(2) if ("led", k) in have]
            if ("rgb_led", 0) in have:
                lamp = platform.request("rgb_led", 0, dir=dict.fromkeys("rgb", "-"))
                return [lamp.g, lamp.r]
        except ResourceError:  # a pin that is the UART's: the lamp is the lesser
            return []
        return []
