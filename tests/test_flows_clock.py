"""The search for a board's clock, with what placement answers written down."""

from dataclasses import dataclass

import pytest

from lutgen.errors import LutgenError
from lutgen.flows import tools
from lutgen.flows.fpga import boards
from lutgen.flows.fpga.clock import SPARE, search
from lutgen.flows.fpga.onboard import check_link, first_clock

BAUD = 1_000_000
SEEDS = (1, 2, 3)


@dataclass(frozen=True)
class Answer:
    """What a placement reached, in Hz."""

    clock: float
    fmax: float
    seeds: tuple[int, ...]


@pytest.fixture(scope="module")
def icebreaker():
    if tools.package_version("amaranth-boards") is None:
        pytest.skip("amaranth-boards is not installed; run: pip install 'lutgen[fpga]'")
    return boards.find_board("icebreaker")


def run(board, start, reaches, seeds=SEEDS):
    """The search on a board whose placements reach, in MHz, what is listed, in turn."""
    said, asked, left = [], [], list(reaches)

    def place(clock, some):
        asked.append(Answer(clock, left.pop(0) * 1e6, tuple(some)))
        return asked[-1]

    def clock_of(hz):
        return first_clock(board, hz)[1]

    try:
        return search(start * 1e6, clock_of, place, seeds, said.append), asked, said
    finally:
        # Each line that speaks of another placement is followed by one.
        assert sum("placed anew for" in line for line in said) == len(asked) - 1


def test_a_near_miss_is_not_repeated(icebreaker):
    """31.67 MHz twice are 28.5 MHz with a tenth to spare, and then not quite."""
    found, asked, said = run(icebreaker, 18, [31.67, 31.6, 31.3])
    assert [one.seeds for one in asked] == [SEEDS[:1], SEEDS, SEEDS]
    assert asked[1].clock == 28.5e6
    assert asked[2].clock < 0.975 * 31.6e6 * (1 - SPARE)
    assert found is asked[2]
    assert found.clock <= found.fmax * (1 - SPARE)
    assert not any("no clock was found" in line for line in said)


def test_the_best_placement_that_meets_its_clock_is_kept(icebreaker):
    found, asked, said = run(icebreaker, 30, [31.67, 31.0, 28.5])
    assert [one.clock <= one.fmax * (1 - SPARE) for one in asked] == [False] * 3
    assert found is asked[1]
    assert found.clock == 28.5e6 < found.fmax
    assert said[-1].startswith("no clock was found that leaves 10% to spare; kept is the one of ")


def test_what_is_far_slower_than_need_be_is_not_kept(icebreaker):
    found, asked, _ = run(icebreaker, 18, [31.67, 31.6, 29.8])
    assert asked[0].clock <= asked[0].fmax * (1 - SPARE)
    assert found is asked[1]


def test_a_slow_clock_that_is_met_is_kept_where_there_is_none_slower(icebreaker):
    """The board's slowest is 12 MHz: 11.7 MHz with a tenth to spare are none."""
    found, asked, said = run(icebreaker, 18, [13.0, 13.0])
    assert [one.clock for one in asked] == [18e6, 12e6]
    assert found is asked[1]
    assert "kept is the one of 12 MHz" in said[-1]


def test_a_placement_that_fails_leaves_the_one_before(icebreaker):
    said = []

    def place(clock, seeds):
        if clock > 20e6:
            raise LutgenError("place and route: nextpnr-ice40: it ended")
        return Answer(clock, 31.67e6, tuple(seeds))

    found = search(18e6, lambda hz: first_clock(icebreaker, hz)[1], place, SEEDS, said.append)
    assert found.fmax == 31.67e6
    assert said[-1] == "note: for 28.5 MHz: place and route: nextpnr-ice40: it ended"


def test_no_placement_that_meets_its_clock_is_an_error(icebreaker):
    with pytest.raises(LutgenError, match=r"argument --clock: no clock .* less than .*MHz"):
        run(icebreaker, 60, [40, 35, 30, 25, 20, 11])
    with pytest.raises(LutgenError, match="no clock of at most 11 MHz"):
        run(icebreaker, 18, [11.0])


def test_one_seed_is_placed_once_where_that_is_good_enough(icebreaker):
    found, asked, said = run(icebreaker, 18, [20.5], seeds=(1,))
    assert (found, said) == (asked[0], [])
    found, asked, _ = run(icebreaker, 18, [40.0, 41.0], seeds=(1,))
    assert found is asked[1]


@pytest.mark.parametrize(
    ("name", "most", "limit"),
    [("icebreaker", 183e6, 185e6), ("hx8k", 270e6, 275e6), ("ulx3s-85f", 400e6, float("inf"))],
)
def test_a_clock_beyond_board_and_part_is_refused(icebreaker, name, most, limit):
    board = boards.find_board(name)
    assert board.part.limit == limit
    assert check_link(board, most, BAUD) == most
    text = rf"board {board.name} has no clock of 1000 MHz: .* is {most / 1e6:.4g}MHz; cores reach"
    with pytest.raises(LutgenError, match=text):
        check_link(board, 1e9, BAUD)
    # Nothing that is chosen is faster either.
    assert first_clock(board, 1e9)[1] == most
