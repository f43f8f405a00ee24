"""FPGAs as the tools call them."""

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from lutgen.errors import LutgenError
from lutgen.spec.target import DEVICES, Device

__all__ = ["ROUTERS", "Part", "Router", "device_part", "no_such", "synthesis_command"]

# How yosys maps to each family. No multiplier blocks, and no pads where there are no pins yet.
COMMANDS = {
    "ice40": "synth_ice40 -spram",
    "ecp5": "synth_ecp5 -nodsp",
    "xilinx": "synth_xilinx -family xc7 -flatten -nodsp -noiopad -noclkbuf",
    "gowin": "synth_gowin -noiopads",
}


def synthesis_command(family: str) -> str:
    """How yosys maps to a family.

    Raises
    ------
    ValueError
        If it is none of those that are known: a core is never mapped as another family's.
    """
    if family not in COMMANDS:
        raise ValueError(f"Family must be one of {', '.join(COMMANDS)}, not {family!r}")
    return COMMANDS[family]


@dataclass(frozen=True)
class Router:
    """What places, routes and packs for a family, and the files that it takes and gives.

    Parameters
    ----------
    place : str
        The program, a key of `lutgen.flows.fpga.steps.PACKAGES`, as ``pack``.
    pins_option, pins_suffix : str
        How it is told of the pins, and what their file ends in.
    unpinned : str
        The option that lets it choose them.
    config_option : str
        Before the name of the configuration that it writes.
    pack : str
        The program that makes a bitstream of that.
    pack_args : tuple of str
        What that is told, with the names ``config`` and ``bitstream``.
    bitstream : str
        The file's name.
    io : dict of str to str
        Attributes of pins that a board's definition does not name.
    """

    place: str
    pins_option: str
    pins_suffix: str
    unpinned: str
    config_option: str
    pack: str
    pack_args: tuple[str, ...]
    bitstream: str
    io: Mapping[str, str]


ROUTERS = {
    "ice40": Router(
        place="nextpnr-ice40",
        pins_option="--pcf",
        pins_suffix=".pcf",
        unpinned="--pcf-allow-unconstrained",
        config_option="--asc",
        pack="icepack",
        pack_args=("config", "out.bin"),
        bitstream="out.bin",
        io={},
    ),
    "ecp5": Router(
        place="nextpnr-ecp5",
        pins_option="--lpf",
        pins_suffix=".lpf",
        unpinned="--lpf-allow-unconstrained",
        config_option="--textcfg",
        pack="ecppack",
        pack_args=("--compress", "--input", "config", "--bit", "out.bit"),
        bitstream="out.bit",
        io={"IO_TYPE": "LVCMOS33"},
    ),
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
        What places and routes it, a key of `ROUTERS`; None where synthesis is all that open tools
        do.
    args : tuple of str
        What that is told.
    package, speed : str
        For the report.
    clock : float
        Hz that placement aims at where nobody says: what such cores reach there.
    limit : float
        Hz that a global clock may have by the data sheet; infinite where that is not known.
    """

    device: Device
    router: str | None
    args: tuple[str, ...]
    package: str
    speed: str
    clock: float
    limit: float = math.inf

    @property
    def family(self) -> str:
        """``ice40``, ``ecp5``, ``xilinx`` or ``gowin``."""
        return self.device.target.name

    @property
    def synthesis(self) -> str:
        """The command of yosys."""
        command = synthesis_command(self.family)
        if self.family == "ice40":
            command += f" -device {ICE40_TIMING.get(self.device.name, 'hx')}"
        return command

    @property
    def tools(self) -> Router:
        """What places, routes and packs.

        Raises
        ------
        ValueError
            If open tools do not, or it is not known how.
        """
        if self.router not in ROUTERS:
            raise ValueError(
                f"Router of {self.device.name} must be one of {', '.join(ROUTERS)}, not "
                f"{self.router!r}"
            )
        return ROUTERS[self.router]


def ice40(name: str, package: str, clock: float) -> Part:
    """An iCE40; its name tells the speed."""
    args = (f"--{name}", "--package", package)
    # fMAX_GBUF of Lattice FPGA-DS-02008 (UltraPlus) and FPGA-DS-02029 (LP, HX).
    limit = 185e6 if name.startswith("up") else 275e6
    return Part(DEVICES[name], "ice40", args, package, "", clock, limit)


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


def no_such(option: str, name: str, known: Iterable[str]) -> str:
    """What is said of a name that is none of ``known``: with the few most like it, best first."""
    near = difflib.get_close_matches(name.lower(), sorted(known), 4, 0.5)
    like = f"; near: {', '.join(near)}" if near else ", nor one like it"
    return f"argument {option}: there is no {name!r:.40}{like}; `lutgen synth --list` names all"


def device_part(name: str) -> Part:
    """A device out of context.

    Raises
    ------
    LutgenError
        If there is none of that name: names the near ones.
    """
    if name not in PARTS:
        raise LutgenError(no_such("--device", name, PARTS))
    return PARTS[name]
