"""Boards of amaranth-boards: which part, which pins, which clocks."""

import importlib
import inspect
import pkgutil
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from lutgen.errors import LutgenError
from lutgen.flows import tools
from lutgen.flows.fpga.parts import PARTS, Part, no_such
from lutgen.gateware.board import BoardTop
from lutgen.spec.pll import Ecp5Pll, Ice40Pll, ecp5_pll, ice40_pll

__all__ = ["Board", "find_board", "known_boards"]

ICE40 = {"iCE40UP5K": "up5k", "iCE40HX1K": "hx1k", "iCE40HX4K": "hx4k", "iCE40HX8K": "hx8k"}
ICE40 |= {"iCE40LP8K": "lp8k"}
ECP5 = {"12F": "12k", "25F": "25k", "45F": "45k", "85F": "85k"}
KINDS = {"LFE5U": "", "LFE5UM": "um-", "LFE5UM5G": "um5g-"}
PACKAGES = {"BG256": "CABGA256", "MG285": "CSFBGA285", "BG381": "CABGA381", "BG554": "CABGA554"}
PACKAGES |= {"BG756": "CABGA756"}

# Where a board's definition has no UART, but its makers say which pins are one.
UARTS = {
    "orangecrab": {"conn": ("io", 0), "rx": "0", "tx": "1"},
}
# Pins that feed a loop without going through the fabric, and that nothing else can be read from
# while the loop is used.
PLL_PADS = {("up5k", "sg48"): "35"}
# What people call a board, where its definition has a longer name.
NICKNAMES = {
    "hx8k": "ice40hx8kbevn",
    "hx8kbreakout": "ice40hx8kbevn",
    "ulx3s": "ulx3s85f",
    "orangecrab": "orangecrabr0225f",
    "colorlight": "colorlight5a75br70",
    "ecpix5": "ecpix585",
}


@dataclass(frozen=True)
class Board:
    """A board that lutgen can put a core on.

    Attributes
    ----------
    name : str
    part : Part
    platform : type
        Of amaranth-boards.
    clock : float
        Hz of its oscillator.
    uart : dict
        ``name``, ``number`` and ``signals`` of the resource.
    """

    name: str
    part: Part
    platform: type
    clock: float
    uart: dict[str, Any]

    @property
    def pad(self) -> bool:
        """Whether the oscillator's pin feeds the loop by itself."""
        platform: Any = self.platform()
        pins = getattr(platform.resources[platform.default_clk, 0].ios[0], "names", [""])
        return bool(PLL_PADS.get((self.part.device.name, self.part.package)) == pins[0])

    def pll(self, most: float) -> Ice40Pll | Ecp5Pll | None:
        """What makes the fastest clock of at most ``most`` Hz; None for the board's own.

        Raises
        ------
        LutgenError
            If there is no clock so slow.
        """
        found = self._loop(most)
        if found is not None and (found.hz > self.clock or self.clock > most):
            return found
        if self.clock <= most:
            return None
        raise LutgenError(
            f"board {self.name}: no clock of at most {most / 1e6:.4g} MHz: its own is "
            f"{self.clock / 1e6:g} MHz, and the loop makes none so slow; a core of shorter paths "
            "is needed"
        )

    def _loop(self, most: float) -> Ice40Pll | Ecp5Pll | None:
        """The fastest clock that the loop makes of at most ``most`` Hz."""
        if self.part.router == "ice40":
            return ice40_pll(self.clock, most)
        if self.part.router == "ecp5":
            return ecp5_pll(self.clock, most)
        raise ValueError(f"Router of {self.name} must be ice40 or ecp5, not {self.part.router!r}")

    def top(self, inner: str, pll: Ice40Pll | Ecp5Pll | None) -> tuple[str, str]:
        """RTLIL of the module ``top`` around ``inner``, and the constraints of its pins."""
        platform = self.platform()
        self._add_uart(platform)
        files = platform.prepare(BoardTop(inner, pll, self.uart, pad=self.pad), "top").files
        text, pins = files["top.il"], files[f"top{self.part.tools.pins_suffix}"]
        return _text(text), _text(pins)

    def program(self, bitstream: str) -> str | None:
        """The command that loads a bitstream; None where the board's definition knows none that
        takes such a file.
        """

        class Products:
            """What a build made: of all its files, the bitstream."""

            @contextmanager
            def extract(self, *names: str) -> Iterator[str]:
                if len(names) != 1 or Path(names[0]).suffix != Path(bitstream).suffix:
                    raise NotImplementedError
                yield bitstream

        said: list[str] = []
        # Definitions run the command by themselves: here it is only written down.
        with patch("subprocess.check_call", lambda command, **_: said.append(shlex.join(command))):
            try:
                self.platform().toolchain_program(Products(), "top")
            except Exception:  # they look for tools, too
                return None
        return " && ".join(said) or None

    def _add_uart(self, platform: Any) -> None:
        if "made" in self.uart:
            from amaranth.build import Attrs
            from amaranth_boards.resources import UARTResource

            made = self.uart["made"]
            attributes = Attrs(**self.part.tools.io)
            platform.add_resources([UARTResource(0, **made, attrs=attributes)])


def _text(content: str | bytes) -> str:
    return content.decode() if isinstance(content, bytes) else content


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(" ", "").removesuffix("platform")


@cache
def _platforms() -> Mapping[str, type]:
    """Every platform that can be made, by its plain name."""
    if tools.package_version("amaranth-boards") is None:
        raise LutgenError("amaranth-boards is not installed; run: pip install 'lutgen[fpga]'")
    import amaranth_boards

    found: dict[str, type] = {}
    for entry in pkgutil.iter_modules(amaranth_boards.__path__):
        try:
            module = importlib.import_module(f"amaranth_boards.{entry.name}")
        except Exception:  # a board that its own package can't load is none that we know
            continue
        own = [
            kind
            for name, kind in vars(module).items()
            if inspect.isclass(kind)
            and name.endswith("Platform")
            and kind.__module__ == module.__name__
            and not inspect.isabstract(kind)
            and not name.startswith("_")
        ]
        for kind in own:
            found[_plain(kind.__name__)] = kind
        if len(own) == 1:
            found.setdefault(_plain(entry.name), own[0])
    return found


def known_boards() -> list[str]:
    """Names of all boards that lutgen can make a bitstream for."""
    names = []
    for name in (*_platforms(), *NICKNAMES):
        try:
            find_board(name)
        except LutgenError:
            continue
        names.append(name)
    return sorted(names)


def find_board(name: str) -> Board:
    """A board by the name of its definition, or what people call it.

    Raises
    ------
    LutgenError
        If there is none, or open tools can't put a core on it: says why.
    """
    plain = NICKNAMES.get(_plain(name), _plain(name))
    platforms = _platforms()
    if plain not in platforms:
        raise LutgenError(no_such("--board", name, {*platforms, *NICKNAMES}))
    kind = platforms[plain]
    try:
        platform = kind()
    except Exception as error:
        raise LutgenError(f"board {name}: amaranth-boards can't make it: {error}") from error
    part = _part(name, platform)
    if platform.default_clk is None or not _is_pin(platform):
        raise LutgenError(f"board {name}: its definition names no clock pin")
    return Board(plain, part, kind, platform.default_clk_frequency, _uart(name, plain, platform))


def _is_pin(platform: Any) -> bool:
    """Whether the clock comes from a pin; some come from an oscillator inside."""
    return (platform.default_clk, 0) in platform.resources


def _part(name: str, platform: Any) -> Part:
    device = str(getattr(platform, "device", None) or getattr(platform, "part", "unknown"))
    if device in ICE40:
        part = PARTS[ICE40[device]]
        package = platform.package.lower()
        return replace(part, args=(part.args[0], "--package", package), package=package)
    family, _, size = device.partition("-")
    if family in KINDS and size in ECP5:
        part, package = PARTS[ECP5[size]], PACKAGES[platform.package]
        args = (f"--{KINDS[family]}{ECP5[size]}", "--package", package, "--speed", platform.speed)
        return replace(part, args=args, package=package, speed=platform.speed)
    raise LutgenError(
        f"board {name}: its part {device} is not one that nextpnr places here (iCE40 HX1K, HX4K, "
        "HX8K, LP8K and UP5K, ECP5); --device xc7a35t, gw1n9 and gw2a18 give synthesis reports"
    )


def _uart(name: str, plain: str, platform: Any) -> dict[str, Any]:
    if ("uart", 0) in platform.resources:
        signals = [sub.name for sub in platform.resources["uart", 0].ios]
        return {"name": "uart", "number": 0, "signals": signals}
    for start, made in UARTS.items():
        if plain.startswith(start):
            return {"name": "uart", "number": 0, "signals": ["rx", "tx"], "made": made}
    raise LutgenError(
        f"board {name}: its definition names no UART, which is how the host talks to it"
    )
