"""What choices of a fold are made of and cost: shared by the options of all kinds of nodes."""

from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field, replace

from lutgen.cost.area import Area, Coefficients, logic_area, memory_area
from lutgen.cost.counts import Counts, fifo_counts, regrouper_counts
from lutgen.model.base import Node
from lutgen.model.fold import Fold
from lutgen.numeric import clog2
from lutgen.spec.fifo import FifoSpec
from lutgen.spec.memory import MemorySpec
from lutgen.spec.network import PortSpec
from lutgen.spec.stream import RegrouperSpec
from lutgen.spec.target import Target, form_of

__all__ = ["BEAT", "Choice", "Costs", "Options", "Parts", "flipflop", "sizes"]

# Lookup tables that a beat less is worth: hardly anything, but narrow streams are slow to simulate.
BEAT = 0.03


def sizes(count: int) -> list[int]:
    """Numbers of things at once that are worth a look: divisors and powers of two."""
    powers = {1 << k for k in range(clog2(count) + 1) if 1 << k <= count}
    return sorted(powers | {k for k in range(1, count + 1) if count % k == 0})


@dataclass(frozen=True)
class Choice:
    """A fold of a stage.

    Attributes
    ----------
    lanes : int
        Elements of an output beat.
    interval : int
    fold : Fold
    area : Area
    cost : float
        All in lookup tables.
    """

    lanes: int
    interval: int
    fold: Fold
    area: Area
    cost: float


@dataclass(frozen=True)
class Parts:
    """What something is made of, before anybody says what a block RAM is worth.

    Attributes
    ----------
    logic : Area
    memories : tuple of MemorySpec
    """

    logic: Area = field(default_factory=Area)
    memories: tuple[MemorySpec, ...] = ()

    def __add__(self, other: "Parts") -> "Parts":
        return Parts(self.logic + other.logic, self.memories + other.memories)


def flipflop(target: Target) -> float:
    """Lookup tables that a flip-flop is worth."""
    return target.bare or 0.25


class Costs:
    """What things take on a target.

    Parameters
    ----------
    target : Target
        If it has single-port RAMs, every memory may use them: a whole core shares them out.
    fit : Coefficients
    """

    def __init__(self, target: Target, fit: Coefficients) -> None:
        self.target = target
        self.fit = fit
        self._memory: dict[tuple[str, int, int, int], Area] = {}

    def memory(self, memories: Iterable[MemorySpec]) -> Area:
        """Of memories in their best forms."""
        total = Area()
        for memory in memories:
            key = (*memory.key, memory.count)
            if key not in self._memory:
                form = form_of(memory, self.target, single=self.target.single_count > 0)
                self._memory[key] = memory_area(memory, form, self.fit)
            total += self._memory[key]
        return total

    def area(self, parts: Parts) -> Area:
        """Of logic, and of memories in their best forms."""
        return parts.logic + self.memory(parts.memories)

    def logic(self, counts: Counts) -> Area:
        """Of counted logic."""
        return logic_area(counts, self.fit)

    def queue(self, port: PortSpec) -> Area:
        """Of the queue behind a stage, of a usual depth."""
        return self.logic(fifo_counts(FifoSpec(port.bits, 4)))

    def price(self, area: Area) -> float:
        """In lookup tables."""
        cells = area.luts + flipflop(self.target) * area.ffs
        target = self.target
        return cells + area.blocks * target.block_luts + area.single * target.single_luts


class Options:
    """The folds of a node.

    Parameters
    ----------
    node : Node
    o : PortSpec
        What it gives; the lanes are left open.
    costs : Costs
    """

    def __init__(self, node: Node, o: PortSpec, costs: Costs) -> None:
        self.node, self.o, self.costs = node, o, costs

    def at(self, costs: Costs) -> "Options":
        """The same folds with other costs of memories; what they are made of is shared."""
        other = copy(self)
        other.costs = costs
        other._forget()
        return other

    def _forget(self) -> None:
        """Drops what depends on the costs of memories."""

    @property
    def intervals(self) -> set[int]:
        """Every interval that some fold has."""
        raise NotImplementedError

    def within(self, gives: tuple[PortSpec, ...], interval: int) -> list[Choice]:
        """The cheapest fold for each number of lanes, of those with at most this interval."""
        raise NotImplementedError

    def regroup(self, give: PortSpec, lanes: int) -> tuple[int, Area]:
        """Interval and area of what turns a stage's beats into others."""
        if give.lanes == lanes:
            return 0, Area()
        spec = RegrouperSpec(give.elements, give.lanes, lanes)
        o = replace(give, lanes=lanes)
        counts = regrouper_counts(spec, give.element.bits)
        return spec.parts, self.costs.logic(counts) + self.costs.queue(o)

    def choice(self, lanes: int, interval: int, fold: Fold, area: Area) -> Choice:
        """With the queue behind it."""
        o = replace(self.o, lanes=lanes)
        area += self.costs.queue(o)
        return Choice(lanes, interval, fold, area, self.costs.price(area) + BEAT * o.beats)
