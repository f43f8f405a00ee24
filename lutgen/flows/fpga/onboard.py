"""A core on a board: link, clock, pins, bitstream."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lutgen.cost.area import Area
from lutgen.errors import LutgenError
from lutgen.flows.fpga import plan
from lutgen.flows.fpga.boards import Board
from lutgen.flows.fpga.steps import Done, play
from lutgen.flows.fpga.synth import SPARE, Placed, Say, Synthesised, place
from lutgen.gateware.link import board_core
from lutgen.numeric import ceil_div
from lutgen.spec.link import MIN_CLOCKS, Uart, default_buffer
from lutgen.spec.network import PortSpec

__all__ = ["BAUD", "OnBoard", "check_link", "link_area", "place_board"]

BAUD = 1_000_000
# What the link takes beside its buffers; see docs/guide/boards.md.
LINK = Area(luts=930, ffs=600)
GAIN = 1.15  # that a faster clock must bring, for another pass
TRIES = 3


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
    def met(self) -> bool:
        """Whether the best placement reaches the clock."""
        return self.placed.fmax["best"] * 1e6 >= self.clock

    @property
    def spare(self) -> float:
        """The part of its greatest frequency that the clock leaves."""
        return 1 - self.clock / (self.placed.fmax["best"] * 1e6)


def link_area(source: PortSpec, board: Board) -> Area:
    """What a link takes in front of a core with the input ``source``."""
    buffer = default_buffer(source.beats * source.width // 8)
    rows = board.part.device.target.block_bits // 8
    # A block RAM of 18 kbit holds no more than 2,048 rows of bytes.
    blocks = ceil_div(buffer, min(rows, 2048)) + 1
    return Area(LINK.luts, LINK.ffs, blocks)


def first_clock(board: Board, asked: float) -> tuple[Any, float]:
    """The loop (None for the board's own clock) and Hz of the fastest clock of at most ``asked``.

    Raises
    ------
    LutgenError
        If the board makes none so slow.
    """
    pll = board.pll(asked)
    return pll, board.clock if pll is None else pll.hz


def check_link(board: Board, clock: float | None, baud: int) -> None:
    """Complains of a clock or a baud rate that the board can't have, before anything is built.

    Parameters
    ----------
    board : Board
    clock : float or None
        Hz that were asked for; None for what the first placement aims at.
    baud : int

    Raises
    ------
    LutgenError
        If the board makes no clock so slow, or that clock is too slow for the rate.
    """
    _, hz = first_clock(board, clock or board.part.clock)
    _check_baud(board, hz, baud)


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
    """Puts a core on a board and chooses its clock: the fastest that the best placement reaches
    with a tenth to spare. A clock that is given is kept.

    Raises
    ------
    LutgenError
        If it does not fit, or the board makes no clock so slow, or that clock is too slow for the
        baud rate.
    """
    asked = clock or core.part.clock
    for number in range(TRIES):
        pll, hz = first_clock(board, asked)
        _check_baud(board, hz, baud)
        # The first try, where nothing is known yet, takes one seed.
        first = clock is None and number == 0
        found = _place(core, board, pll, hz, baud, seeds[:1] if first else seeds, say)
        reach = found.placed.fmax["best"] * 1e6 * (1 - SPARE)
        if clock is not None or (not first and hz <= reach):
            return found
        asked = reach
        _, better = first_clock(board, asked)
        if first and hz <= reach and better < GAIN * hz and len(seeds) == 1:
            return found
        say(
            f"placement reaches {found.placed.fmax['best']:.1f} MHz; the board's clock is chosen "
            f"to leave {SPARE:.0%} of that to spare: {better / 1e6:.4g} MHz, placed anew"
        )
    raise LutgenError(
        f"board {board.name}: no clock was found that placement reaches with {SPARE:.0%} to spare; "
        f"give one with --clock, less than {asked / 1e6:.4g}MHz"
    )


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
