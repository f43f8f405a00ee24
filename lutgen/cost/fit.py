"""The fastest core that fits a device.

A device is short of something else than its neighbour: of lookup tables or of block RAMs. So a
block is worth whatever makes the cheapest core fit, and that is looked for anew for every interval.
Where dear blocks are too few tables and cheap ones too many, single memories change their form,
and blocks that are left at last go to memories that are dear in logic. Single-port RAMs are offered
to all stages, and then shared out; where that does not do, stages are chosen as if there were none.
For an interval that nothing fits, the least sum of both mostly proves it, for all shorter ones too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from lutgen.cost.area import Area, CoreArea, core_area, core_memories, memory_area
from lutgen.cost.choice import Costs, flipflop
from lutgen.cost.ways import Solver, Way
from lutgen.spec.memory import MemorySpec, stage_memories
from lutgen.spec.network import NetworkSpec
from lutgen.spec.target import (
    Device,
    Form,
    Target,
    choose_forms,
    form_of,
    spend_forms,
    squeeze_forms,
)
from lutgen.words import counted

__all__ = ["Built", "Fit", "Ladder", "excess"]

RATES = tuple(2 ** (k / 2) for k in range(-6, 9))  # what a block may be worth, of the usual
USUAL = RATES.index(1.0)
GAP = 24  # intervals at most that are looked at one by one
ROUNDS = 5

Forms = Mapping[tuple[str, int, int], Form]


class Ladder:
    """Solvers that count a block as more or less, shared by the devices of a family.

    Parameters
    ----------
    solver : Solver
        With the usual worth.
    """

    def __init__(self, solver: Solver) -> None:
        self.solver = solver
        self._solvers = {solver.costs.target: solver}
        self._ways: dict[tuple[Target, int], Way | None] = {}
        self._memories: dict[int, tuple[Way, list[MemorySpec]]] = {}

    def target(self, rate: int) -> Target:
        """The family, with that worth of a block."""
        usual = self.solver.costs.target
        return replace(usual, block_luts=max(1, round(usual.block_luts * RATES[rate])))

    def way(self, rate: int, interval: int, large: Target | None = None) -> Way | None:
        """The cheapest; with the single-port RAMs of ``large``, however many it takes."""
        target = self.target(rate)
        if large is not None:
            target = with_single(target, large)
        if target not in self._solvers:
            self._solvers[target] = self.solver.at(target)
        if (target, interval) not in self._ways:
            self._ways[target, interval] = self._solvers[target].reach(interval)
        return self._ways[target, interval]

    def memories(self, way: Way) -> list[MemorySpec]:
        """Of the stages of one of its ways, without the queues."""
        if id(way) not in self._memories:
            stages = self.solver.spec(way).stages
            self._memories[id(way)] = way, [m for s in stages for m in stage_memories(s)]
        return self._memories[id(way)][1]


def with_single(target: Target, large: Target) -> Target:
    """A target with the single-port RAMs of another."""
    return replace(
        target,
        single=large.single,
        single_luts=large.single_luts,
        single_count=large.single_count,
    )


def excess(area: Area, device: Device, margin: float) -> list[tuple[float, str]]:
    """What is too much, the worst first: by how many times, and in words."""
    free = 1 - margin
    found = []
    bare = device.target.bare
    for what, need, most in (
        ("logic cells" if bare else "LUTs", area.luts + bare * area.ffs, device.luts * free),
        ("flip-flops", area.ffs, device.ffs * free),
        ("block RAMs", area.blocks, int(device.blocks * free + 1e-9)),
        ("single-port RAMs", area.single, device.target.single_count),
    ):
        if need > most:
            text = f"{need:,.0f} {what} of {most:,.0f}"
            found.append((need / most if most else float("inf"), text))
    return sorted(found, reverse=True)


@dataclass(frozen=True)
class Built:
    """A core that was counted with its queues.

    Attributes
    ----------
    spec : NetworkSpec
    way : Way
    target : Target
        With what a block was worth.
    forms : mapping of memory key to Form
    area : CoreArea
    cost : float
        That of ``way``, with single-port RAMs shared out.
    """

    spec: NetworkSpec
    way: Way
    target: Target
    forms: Forms
    area: CoreArea
    cost: float


@dataclass(frozen=True)
class _Try:
    """A core before its queues are known."""

    rate: int
    large: Target | None  # whose single-port RAMs stages were chosen with
    way: Way
    area: Area


class Fit:
    """Cores for a device.

    Parameters
    ----------
    ladder : Ladder
        Of its family.
    device : Device
    margin : float
        Of it, that stays free.
    say : callable
        Takes a line of progress.
    thorough : bool
        Whether to look at every worth of a block, and at every interval, before giving up.
    """

    def __init__(
        self,
        ladder: Ladder,
        device: Device,
        margin: float,
        say: Callable[[str], None],
        *,
        thorough: bool = False,
    ) -> None:
        self.ladder, self.device, self.margin, self.say = ladder, device, margin, say
        self.thorough = thorough
        self.solver = ladder.solver
        self.queues = Area()  # what they took over what was thought
        self.nearest: dict[int, _Try] = {}
        self._found: dict[int, _Try | None] = {}
        self._hopeless: set[int] = set()

    @cached_property
    def _single(self) -> bool:
        """Whether there are RAMs that only a whole core can share out."""
        return bool(self.device.target.single_count) and self.solver.wishes.loadable

    def near(self, interval: int) -> list[tuple[float, str]]:
        """What is too much of the core that comes closest."""
        self.fit(interval)
        near = self.nearest.get(interval)
        return [] if near is None else excess(near.area, self.device, self.margin)

    def hopeless(self, interval: int | None) -> bool:
        """Whether not even the least sum of lookup tables and blocks has room: at this interval,
        or at every one.
        """
        # What the slowest core, the smallest, has no room for, no other one has.
        return (self.solver.intervals[-1] if interval is None else interval) in self._hopeless

    def fit(self, interval: int) -> _Try | None:
        """A core that fits; None if none was found."""
        if interval not in self._found:
            self.say(
                f"looking for a core of {counted(interval, 'cycle')} that fits "
                f"{self.device.name} ..."
            )
            self._found[interval] = self._fit(interval)
        return self._found[interval]

    def _fit(self, interval: int) -> _Try | None:
        for large in (self.device.target, None) if self._single else (None,):
            found = self._fit_with(interval, large)
            if found is not None:
                return found
        return None

    def _fit_with(self, interval: int, large: Target | None) -> _Try | None:
        """A core whose stages were chosen with those single-port RAMs."""
        tried: dict[int, _Try] = {}

        def few(rate: int) -> bool:
            """Whether blocks suffice where they are worth so much."""
            if rate not in tried:
                way = self.ladder.way(rate, interval, large)
                assert way is not None
                tried[rate] = self._try(rate, large, way)
                self._judge(tried[rate], interval)
            return tried[rate].area.blocks <= self._blocks

        if self.ladder.way(USUAL, interval) is None:
            self._hopeless.add(interval)
            return None
        low, high = (-1, USUAL) if few(USUAL) else (USUAL, len(RATES))
        while high - low > 1 and not self._fitting(tried):
            middle = (low + high) // 2
            if few(middle):
                high = middle
            else:
                low = middle
        if (found := self._fitting(tried)) is not None:
            return found
        rates = [rate for rate in (high, low) if rate in tried]
        if self.thorough and interval not in self._hopeless:
            for rate in range(len(RATES)):
                few(rate)
            if (found := self._fitting(tried)) is not None:
                return found
            rates += sorted(set(tried) - set(rates), key=lambda rate: abs(rate - USUAL))
        for rate in rates:
            if interval not in self._hopeless:
                found = self._try(rate, large, tried[rate].way, squeezed=True)
                self._judge(found, interval)
                if not excess(found.area, self.device, self.margin):
                    return found
        return None

    def _fitting(self, tried: Mapping[int, _Try]) -> _Try | None:
        some = [t for t in tried.values() if not excess(t.area, self.device, self.margin)]
        return min(some, key=lambda t: abs(t.rate - USUAL), default=None)

    @property
    def _blocks(self) -> int:
        return int(self.device.blocks * (1 - self.margin) + 1e-9)

    def _judge(self, found: _Try, interval: int) -> None:
        """Keeps what comes closest, and whether the least sum is too much already."""
        near = self.nearest.get(interval)
        if near is None or self._worst(found.area) < self._worst(near.area):
            self.nearest[interval] = found
        device, free = self.device, 1 - self.margin
        worth = self.ladder.target(found.rate).block_luts
        area = found.way.area
        share = flipflop(device.target)
        need = area.luts + share * area.ffs + worth * area.blocks
        # Bare flip-flops take lookup tables; others are a resource of their own.
        most = free * device.luts + worth * self._blocks
        if not device.target.bare:
            most += free * share * device.ffs
        # A hundredth, for what counts besides: narrow beats.
        if not self._single and need > 1.01 * most:
            self._hopeless.add(interval)

    def _worst(self, area: Area) -> float:
        found = excess(area, self.device, self.margin)
        return found[0][0] if found else 1.0

    def _try(self, rate: int, large: Target | None, way: Way, *, squeezed: bool = False) -> _Try:
        area = self._area(rate, large, way, squeezed) if self._single or squeezed else way.area
        return _Try(rate, large, way, area + self.queues)

    def _area(self, rate: int, large: Target | None, way: Way, squeezed: bool) -> Area:
        """A way's, with the forms that a core has."""
        memories = self.ladder.memories(way)
        single = large is not None
        target = self._target(rate) if single else self.ladder.target(rate)
        old = {m.key: form_of(m, target, single=single) for m in memories}
        new = self._forms(memories, rate, self._blocks - self.queues.blocks, squeezed)
        return self._other(way.area, memories, old, new)

    def _forms(self, memories: list[MemorySpec], rate: int, blocks: int, squeezed: bool) -> Forms:
        """With single-port RAMs where there are, and so many blocks made use of; ``squeezed``: with
        no more than those.
        """
        target = self._target(rate)
        forms = choose_forms(memories, target)
        if squeezed:
            forms = squeeze_forms(memories, target, forms, blocks)
        return spend_forms(memories, self.device.target, forms, blocks)

    def _other(self, area: Area, memories: list[MemorySpec], old: Forms, new: Forms) -> Area:
        """With other forms."""
        fit = self.solver.costs.fit
        was = sum((memory_area(m, old[m.key], fit) for m in memories), Area())
        now = sum((memory_area(m, new[m.key], fit) for m in memories), Area())
        return Area(
            area.luts + now.luts - was.luts,
            area.ffs + now.ffs - was.ffs,
            area.blocks + now.blocks - was.blocks,
            area.single + now.single - was.single,
            area.bits,
        )

    def _target(self, rate: int) -> Target:
        """The device's, with that worth of a block."""
        return replace(self.device.target, block_luts=self.ladder.target(rate).block_luts)

    def build(self, found: _Try) -> Built:
        """With its queues."""
        self.say(f"counting the queues of a core for {self.device.name} ...")
        spec = self.solver.spec(found.way)
        target = self._target(found.rate)
        memories = core_memories(spec)
        forms = self._forms(memories, found.rate, self._blocks, squeezed=True)
        area = core_area(spec, target, forms=forms)
        return Built(spec, found.way, target, forms, area, self._cost(found))

    def _cost(self, found: _Try) -> float:
        way = found.way
        if not self._single:
            return way.cost
        costs = Costs(self._target(found.rate), self.solver.costs.fit)
        shared = self._area(found.rate, found.large, way, squeezed=True)
        return way.cost - costs.price(way.area) + costs.price(shared)

    def fits(self, built: Built) -> bool:
        """Whether it does; if not, the next one has to leave room for such queues."""
        total = built.area.total
        if not excess(total, self.device, self.margin):
            return True
        self.nearest = {}
        self._found = {}
        way = built.way.area
        self.queues = Area(
            max(self.queues.luts, total.luts - way.luts),
            max(self.queues.ffs, total.ffs - way.ffs),
            max(self.queues.blocks, total.blocks - way.blocks),
        )
        return False

    def fastest(self) -> tuple[int, Built] | None:
        """The fastest that fits, and the interval that it was chosen for."""
        intervals = self.solver.intervals
        least = 0
        for _ in range(ROUNDS):
            at = self._search(least)
            if at is None:
                return None
            found = self.fit(intervals[at])
            assert found is not None
            built = self.build(found)
            if self.fits(built):
                return intervals[at], built
            least = at
        return None

    def _search(self, least: int) -> int | None:
        """The number of the shortest interval, from one on, that something fits."""
        intervals = self.solver.intervals
        low, high = least - 1, len(intervals)
        while high - low > 1:
            middle = (low + high) // 2
            if self.fit(intervals[middle]) is not None:
                high = middle
            else:
                low = middle
        # What does not fit at one interval may at a shorter one, unless that is known not to.
        sure = max((k for k in range(high) if intervals[k] in self._hopeless), default=-1)
        gap = high if self.thorough and high == len(intervals) else GAP
        for k in range(max(sure + 1, least, high - gap), high):
            if self.fit(intervals[k]) is not None:
                return k
        return high if high < len(intervals) else None
