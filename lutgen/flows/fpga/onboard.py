"""A core on a board: link, clock, pins, bitstream."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lutgen.cost.area import Area
from lutgen.errors import LutgenError
from lutgen.flows.fpga import plan
from lutgen.flows.fpga.boards import Board
from lutgen.flows.fpga.clock import SPARE, search
from lutgen.flows.fpga.steps import Done, play
from lutgen.flows.fpga.synth import Placed, Say, Synthesised, place
from lutgen.gateware.link import board_core
from lutgen.numeric import ceil_div
from lutgen.spec.link import MIN_CLOCKS, Uart, default_buffer
from lutgen.spec.network import PortSpec

__all__ = ["BAUD", "OnBoard", "check_link", "link_area", "place_board"]

BAUD = 1_000_000
# What the link takes beside its buffers; see docs/guide/boards.md.
LINK = Area(luts=930, ffs=600)


@dataclass(frozen=True)
class OnBoard:
    """A core on a board.

    Attributes
    ----------
    board : Board
    placed : Placed
    clock : float
        Hz that all runs on.
    baud : int
    contract : dict
        The core's, with what a host must know of its link.
    link : str
        Verilog of the link, around the core.
    bitstream : Done
    """

    board: Board
    placed: Placed
    clock: float
    baud: int
    contract: dict[str, Any]
    link: str
    bitstream: Done

    @property
    def bits(self) -> bytes:
        """The bitstream."""
        return (self.bitstream.folder / self.suffix).read_bytes()

    @property
    def suffix(self) -> str:
        """Name of its file."""
        return self.board.part.tools.bitstream

    @property
    def fmax(self) -> float:
        """Hz that the best placement reaches."""
        return self.placed.fmax["best"] * 1e6

    @property
    def met(self) -> bool:
        """Whether the best placement reaches the clock."""
        return self.fmax >= self.clock

    @property
    def spare(self) -> float:
        """The part of its greatest frequency that the clock leaves; negative where it is missed."""
        return 1 - self.clock / self.fmax


def link_area(source: PortSpec, board: Board) -> Area:
    """What a link takes in front of a core with the input ``source``."""
    buffer = default_buffer(source.beats * source.width // 8)
    rows = board.part.device.target.block_bits // 8
    # A block RAM of 18 kbit holds no more than 2,048 rows of bytes.
    blocks = ceil_div(buffer, min(rows, 2048)) + 1
    return Area(LINK.luts, LINK.ffs, blocks)


def first_clock(board: Board, asked: float) -> tuple[Any, float]:
    """The loop (None for the board's own clock) and Hz of the fastest clock of at most ``asked``
    that the board makes and its part distributes.

    Raises
    ------
    LutgenError
        If the board makes none so slow.
    """
    pll = board.pll(min(asked, board.part.limit))
    return pll, board.clock if pll is None else pll.hz


def check_link(board: Board, clock: float | None, baud: int) -> float:
    """Hz of the board's clock; complains of a clock or a baud rate that the board can't have,
    before anything is built.

    Parameters
    ----------
    board : Board
    clock : float or None
        Hz that were asked for; None for what the first placement aims at.
    baud : int

    Raises
    ------
    LutgenError
        If the board makes no clock so slow or so fast, or that clock is too slow for the rate.
    """
    part = board.part
    most = first_clock(board, math.inf)[1]
    # A thousandth: a frequency as messages print it.
    if clock is not None and clock > most * 1.001:
        raise LutgenError(
            f"argument --clock: board {board.name} has no clock of {clock / 1e6:.4g} MHz: the "
            f"greatest that it makes for its {part.device.part} is {most / 1e6:.4g}MHz; cores "
            f"reach about {part.clock / 1e6:.4g} MHz there, and without --clock the fastest that "
            "placement reaches is chosen"
        )
    _, hz = first_clock(board, clock or part.clock)
    _check_baud(board, hz, baud)
    return hz


def _check_baud(board: Board, hz: float, baud: int) -> None:
    try:
        Uart(round(hz), baud)
    except ValueError as error:
        raise LutgenError(
            f"argument --baud: {baud} is too fast for board {board.name} with a clock of "
            f"{hz / 1e6:.4g} MHz, of which a bit takes at least {MIN_CLOCKS} cycles; ask for at "
            f"most --baud {round(hz) // MIN_CLOCKS}"
        ) from error


def place_board(
    core: Synthesised,
    board: Board,
    *,
    clock: float | None,
    baud: int = BAUD,
    seeds: Sequence[int],
    say: Say,
) -> OnBoard:
    """Puts a core on a board and chooses its clock: as fast as the best placement reaches with a
    tenth to spare, or with less where a few placements find none. A clock that is given is kept.

    Raises
    ------
    LutgenError
        If it does not fit, or the board makes no clock so slow or so fast, or that clock is too
        slow for the baud rate, or no placement reaches its clock.
    """
    start = check_link(board, clock, baud)

    def clock_of(asked: float) -> float:
        _, hz = first_clock(board, asked)
        _check_baud(board, hz, baud)
        return hz

    def put(hz: float, seeds: Sequence[int]) -> OnBoard:
        pll, _ = first_clock(board, hz)
        return _place(core, board, pll, hz, baud, seeds, say)

    if clock is not None:
        return put(start, seeds)
    return search(start, clock_of, put, seeds, say)


def _place(
    core: Synthesised, board: Board, pll: Any, hz: float, baud: int, seeds: Sequence[int], say: Say
) -> OnBoard:
    linked = board_core("", core.core.contract, clock_hz=round(hz), baud=baud)
    top, constraints = board.top(linked.name, pll)
    placed = place(
        core,
        "top",
        {"top.il": top, "link.v": linked.verilog},
        clock=hz / (1 - SPARE),
        seeds=seeds,
        constraints=constraints,
        say=say,
    )
    bits = play(plan.pack(placed.best, core.part), say)
    contract = {**linked.contract, "board": board.name}
    return OnBoard(board, placed, hz, baud, contract, linked.verilog, bits)
