"""A simulated board: a core and its link in Verilator, at the end of a pseudo-terminal."""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tty
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from lutgen import resources
from lutgen.errors import LutgenError
from lutgen.flows import cache, simbuild, tools
from lutgen.flows.harness import MAKE, VERILATE
from lutgen.gateware.link.top import BoardCore

__all__ = ["Faults", "SimulatedBoard", "build"]

PROGRAM = "board"
SECONDS = 5.0  # that it may take to end


@dataclass(frozen=True)
class Faults:
    """Chances of a byte, on its way in or out.

    Parameters
    ----------
    drop, flip, extra : float
        To be lost, to have a bit changed, to be followed by a byte of noise.
    """

    drop: float = 0.0
    flip: float = 0.0
    extra: float = 0.0

    def __post_init__(self) -> None:
        for name in ("drop", "flip", "extra"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"Chance of a fault must be 0 to 1, not {getattr(self, name)!r}")


def build(board: BoardCore) -> tuple[Path, bool]:
    """The program of a board, and whether it was in the cache.

    Raises
    ------
    LutgenError
        If Verilator or what it needs is missing, or if it does not take the text.
    """
    program, version = tools.find_verilator()
    simbuild.check_cache()
    compiler = tools.program_version("c++", "--version")
    identity = [program, version, compiler, sys.prefix, platform.machine()]
    folder = resources.sim()
    sources = {path.name: path.read_bytes() for path in sorted(folder.glob("board*"))}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in sources.items()}
    key = cache.digest("board", 1, board.verilog, digests, board.name, VERILATE, MAKE, identity)

    def make(place: Path) -> None:
        log = place / "build.log"
        (place / "design.v").write_text(board.verilog, encoding="utf-8")
        (place / "pins.cpp").write_bytes(sources["board_pins.cpp.in"])
        command = [program, *VERILATE, "--top-module", board.name, "--Mdir", "build"]
        command += ["-o", PROGRAM, "-CFLAGS", f"-I{folder}", "design.v", "pins.cpp"]
        command += [str(folder / "board.cpp"), "--build"]
        status = simbuild.run_logged(command, place, log, simbuild.make_environment(MAKE))
        built = place / "build" / PROGRAM
        if status or not built.is_file():
            raise simbuild.failure("verilator", board.name, log)
        built.rename(place / PROGRAM)
        shutil.rmtree(place / "build")

    place, cached = cache.cached("board", key, make)
    return place / PROGRAM, cached


class SimulatedBoard:
    """A board that runs while this object is open. Whatever talks to a serial port can talk to it.

    Parameters
    ----------
    board : BoardCore
    faults : Faults
        Of its line.
    seed : int
        Of faults, and of what registers and memories hold at first.
    skew : float
        By how much the host's baud rate is higher than the board's, relatively.

    Attributes
    ----------
    path : str
        The pseudo-terminal, such as ``/dev/pts/3``.
    cached : bool
        The program was there already.
    said : dict
        Once it is closed: ``cycles`` that it ran, ``faults`` that were made, ``broken`` bytes that
        it sent.
    """

    def __init__(
        self, board: BoardCore, *, faults: Faults | None = None, seed: int = 0, skew: float = 0.0
    ) -> None:
        program, self.cached = build(board)
        faults = faults or Faults()
        self.said: dict[str, Any] = {}
        master, self._slave = os.openpty()
        tty.setraw(self._slave)  # open here too, so that those at the other end may come and go
        self.path = os.ttyname(self._slave)
        chances = [str(chance) for chance in (faults.drop, faults.flip, faults.extra)]
        clocks = board.spec.uart.clocks / (1 + skew)
        try:
            self._process = subprocess.Popen(
                [str(program), str(master), str(clocks), str(seed), *chances],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                pass_fds=[master],
                env=tools.environment(),
            )
        except OSError:
            os.close(self._slave)
            raise
        finally:
            os.close(master)

    def __enter__(self) -> "SimulatedBoard":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def unplug(self) -> None:
        """Ends it at once, as if its cable were pulled."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Ends it, and learns what it did."""
        if self._process.stdin is None or self._process.stdin.closed:
            return
        self._process.stdin.close()
        try:
            self._process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        with self._process.stdout as said:
            *rules, last = said.read().decode().splitlines() or [""]  # of memories; see simbuild
        with contextlib.suppress(ValueError):
            self.said = json.loads(last)
        os.close(self._slave)
        if rules:
            raise LutgenError(f"the simulated board: {rules[0]}")
        if self._process.returncode > 0:
            raise LutgenError(f"the simulated board ended with status {self._process.returncode}")
