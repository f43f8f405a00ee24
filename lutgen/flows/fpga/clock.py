"""The search for a clock that placement reaches with something to spare."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from lutgen.errors import LutgenError

__all__ = ["SPARE", "Reached", "search"]

# Of the greatest frequency, what a clock leaves to temperature, voltage and age.
SPARE = 0.1
GAIN = 1.15  # that a faster clock must bring, for another pass
STEP = 0.03  # what each miss takes off the next clock, besides: placements differ by some per cent
TRIES = 3
MOST = 6  # where no placement so far reaches its own clock


class Reached(Protocol):
    """A design that was placed for a clock."""

    @property
    def clock(self) -> float:
        """Hz that it was placed for."""

    @property
    def fmax(self) -> float:
        """Hz that its best placement reaches."""


Found = TypeVar("Found", bound=Reached)


def search(
    start: float,
    clock_of: Callable[[float], float],
    place: Callable[[float, Sequence[int]], Found],
    seeds: Sequence[int],
    say: Callable[[str], None],
) -> Found:
    """The design whose placement reaches its clock with `SPARE`, as fast as a few placements find
    one; where they find none, of those that reach their clock the one that leaves most to spare.

    Parameters
    ----------
    start : float
        Hz to begin with.
    clock_of : callable
        Hz of the fastest clock there is of at most so many; raises `LutgenError` where there is
        none.
    place : callable
        Places for a clock that ``clock_of`` gave, with some seeds.
    seeds : sequence of int
        Of a placement; the first, where nothing is known yet, takes one of them.
    say : callable
        Takes lines of progress.

    Raises
    ------
    LutgenError
        If no placement reaches its clock.
    """
    clock = clock_of(start)
    good: list[Found] = []
    for number in range(MOST):
        try:
            found = place(clock, seeds[:1] if number == 0 else seeds)
        except LutgenError as error:
            if not good:
                raise
            say(f"note: for {clock / 1e6:.4g} MHz: {error}")
            break
        reach = found.fmax * (1 - SPARE)
        if clock <= reach and number > 0:
            return found
        if clock <= found.fmax:
            good.append(found)
        if number + 1 >= (TRIES if good else MOST):
            break
        # A clock just below one that was missed by a hair would be missed as well.
        asked = reach if number == 0 else min(reach, clock) * (1 - STEP * number)
        try:
            clock = _slower(clock_of, asked, found)
        except LutgenError:
            if not good:
                raise
            break
        if number == 0 and found.clock <= reach and clock < GAIN * found.clock and len(seeds) == 1:
            return found
        say(
            f"placement reaches {found.fmax / 1e6:.4g} MHz, {reach / 1e6:.4g} MHz with {SPARE:.0%} "
            f"to spare; placed anew for {clock / 1e6:.4g} MHz"
        )
    if not good:
        raise LutgenError(
            f"argument --clock: no clock was found that placement reaches, down to "
            f"{clock / 1e6:.4g} MHz; give one of less than "
            f"{found.fmax * (1 - SPARE) / 1e6:.4g}MHz"
        )
    # What the first placement aimed at may be far below what the others reach.
    fast = max(one.clock for one in good) / GAIN
    best = min((one for one in good if one.clock >= fast), key=lambda one: one.clock / one.fmax)
    if best.clock > best.fmax * (1 - SPARE):
        say(
            f"no clock was found that leaves {SPARE:.0%} to spare; kept is the one of "
            f"{best.clock / 1e6:.4g} MHz, which its placement reaches"
        )
    return best


def _slower(clock_of: Callable[[float], float], asked: float, found: Reached) -> float:
    """The next clock: of at most ``asked``; where there is none, the fastest below ``asked`` that
    placement reaches at all.
    """
    try:
        return clock_of(asked)
    except LutgenError:
        # Without the spare: the slowest there is may still be met.
        return clock_of(min(found.fmax, found.clock * (1 - 1e-9)))
