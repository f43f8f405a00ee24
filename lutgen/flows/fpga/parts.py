"""FPGAs as the tools call them."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from lutgen.errors import LutgenError
from lutgen.spec.target import DEVICES, Device

__all__ = ["COMMANDS", "Part", "device_part", "near"]

# How yosys maps to each family. No multiplier blocks, and no pads where there are no pins yet.
COMMANDS = {
    "ice40": "synth_ice40 -spram",
    "ecp5": "synth_ecp5 -nodsp",
    "xilinx": "synth_xilinx -family xc7 -flatten -nodsp -noiopad -noclkbuf",
    "gowin": "synth_gowin -noiopads",
}

# Where an iCE40's timing is known to yosys.
ICE40_TIMING = {"up5k": "u", "lp1k": "lp", "lp8k": "lp"}


@dataclass(frozen=True)
class Part:
    """An FPGA in a package.

    Parameters
    ----------
    device : Device
    router : str or None
        The nextpnr that places and routes it (``ice40``, ``ecp5``); None where synthesis is all
        that open tools do.
    args : tuple of str
        What that is told.
    package, speed : str
        For the report.
    clock : float
        Hz that placement aims at where nobody says: what such cores reach there.
    """

    device: Device
    router: str | None
    args: tuple[str, ...]
    package: str
    speed: str
    clock: float

    @property
    def family(self) -> str:
        """``ice40``, ``ecp5``, ``xilinx`` or ``gowin``."""
        return self.device.target.name

    @property
    def synthesis(self) -> str:
        """The command of yosys."""
        command = COMMANDS[self.family]
        if self.family == "ice40":
            command += f" -device {ICE40_TIMING.get(self.device.name, 'hx')}"
        return command


def ice40(name: str, package: str, clock: float) -> Part:
    """An iCE40; its name tells the speed."""
    return Part(DEVICES[name], "ice40", (f"--{name}", "--package", package), package, "", clock)


def ecp5(name: str, package: str, speed: str, kind: str = "") -> Part:
    """An ECP5; ``kind`` is ``um-`` or ``um5g-`` for those with transceivers."""
    args = (f"--{kind}{name}", "--package", package, "--speed", speed)
    return Part(DEVICES[name], "ecp5", args, package, speed, 60e6)


# What a device is out of context: in the package and speed grade of its commonest board.
PARTS = {
    "up5k": ice40("up5k", "sg48", 18e6),
    "hx1k": ice40("hx1k", "tq144", 50e6),
    "hx4k": ice40("hx4k", "tq144", 50e6),
    "hx8k": ice40("hx8k", "ct256", 50e6),
    "lp8k": ice40("lp8k", "cm81", 30e6),
    "12k": ecp5("12k", "CABGA381", "6"),
    "25k": ecp5("25k", "CABGA381", "6"),
    "45k": ecp5("45k", "CABGA381", "6"),
    "85k": ecp5("85k", "CABGA381", "6"),
    "xc7a35t": Part(DEVICES["xc7a35t"], None, (), "", "", 100e6),
    "gw1n9": Part(DEVICES["gw1n9"], None, (), "", "", 50e6),
    "gw2a18": Part(DEVICES["gw2a18"], None, (), "", "", 80e6),
}


def near(name: str, known: Iterable[str]) -> str:
    """The names most like ``name``, or all, for a message."""
    names = list(known)
    return ", ".join(difflib.get_close_matches(name.lower(), names, 4, 0.5) or names)


def device_part(name: str) -> Part:
    """A device out of context.

    Raises
    ------
    LutgenError
        If there is none of that name: names the near ones.
    """
    if name not in PARTS:
        raise LutgenError(f"argument --device: there is no {name!r}; near: {near(name, PARTS)}")
    return PARTS[name]
