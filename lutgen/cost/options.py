"""The folds of one node, each with what it takes: what `lutgen.cost.solve` chooses from.

A lookup layer's cost is that of two halves, which only share the fan-in: encoders with what feeds
them, and the matcher. So their folds are looked at apart, and a few hundred sums do for what would
be tens of thousands of stages.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd

from lutgen.cost.area import Area, Coefficients, logic_area, memory_area
from lutgen.cost.counts import (
    Counts,
    encoder_counts,
    feeder_counts,
    fifo_counts,
    index_counts,
    line_counts,
    matcher_counts,
    regrouper_counts,
    stage_counts,
)
from lutgen.model.base import Node
from lutgen.model.fold import Fold, divisor
from lutgen.model.lookup import LutConv2d, LutLinear
from lutgen.model.nodes import Add, AvgPool2d, Map, MaxPool2d
from lutgen.model.plan import Planner
from lutgen.numeric import ceil_div, clog2
from lutgen.spec.conv import Conv2dSpec, FeederSpec
from lutgen.spec.fifo import FifoSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.memory import (
    MemorySpec,
    encoder_memories,
    feed_memories,
    matcher_memories,
    stage_memories,
)
from lutgen.spec.network import PortSpec, Stage
from lutgen.spec.pool import PoolSpec
from lutgen.spec.stream import RegrouperSpec
from lutgen.spec.target import Target, form_of

__all__ = ["Choice", "Costs", "LookupOptions", "Options", "OtherOptions", "sizes"]


# Lookup tables that a beat less is worth: hardly anything, but narrow streams are slow to simulate.
BEAT = 0.03


def sizes(count: int) -> list[int]:
    """Numbers of things at once that are worth a look: divisors and powers of two."""
    powers = {1 << k for k in range(clog2(count) + 1) if 1 << k <= count}
    return sorted(powers | {k for k in range(1, count + 1) if count % k == 0})


def efficient(count: int) -> list[int]:
    """The least numbers at once for every number of turns."""
    return sorted({ceil_div(count, k) for k in range(1, count + 1)})


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


class Costs:
    """What things take on a target.

    Parameters
    ----------
    target : Target
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
                form = form_of(memory, self.target)
                self._memory[key] = memory_area(memory, form, self.fit)
            total += self._memory[key]
        return total

    def logic(self, counts: Counts) -> Area:
        """Of counted logic."""
        return logic_area(counts, self.fit)

    def queue(self, port: PortSpec) -> Area:
        """Of the queue behind a stage, of a usual depth."""
        return self.logic(fifo_counts(FifoSpec(port.bits, 4)))

    def price(self, area: Area) -> float:
        """In lookup tables."""
        return area.luts + 0.25 * area.ffs + area.blocks * self.target.block_luts


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


@dataclass(frozen=True)
class _Half:
    """The encoders' side of a lookup layer."""

    interval: int
    price: float
    area: Area
    centroids: int
    dims: int
    word: int
    steps: int


class LookupOptions(Options):
    """Of a lookup layer.

    Parameters
    ----------
    node, o, costs
        See `Options`.
    plain : LinearSpec or Conv2dSpec
        The layer, however folded.
    wish : Fold
        What is settled already.
    """

    def __init__(
        self,
        node: LutLinear | LutConv2d,
        o: PortSpec,
        costs: Costs,
        plain: LinearSpec | Conv2dSpec,
        wish: Fold,
    ) -> None:
        super().__init__(node, o, costs)
        self.plain, self.wish = plain, wish
        self.conv = plain if isinstance(plain, Conv2dSpec) else None
        row = self.conv.row if self.conv else plain
        assert isinstance(row, LinearSpec)
        self.row = replace(
            row,
            lanes=1,
            fan_in=1,
            encoder_centroids=1,
            encoder_dims=1,
            feed_interval=0,
            feed_latency=0,
        )
        self.visits = self.conv.window.count if self.conv else 1
        self.pixel = self.conv is not None and self.conv.encode == "pixel"
        self.windowed = self.conv is not None and not self.pixel
        self.encodes = self.visits
        if self.conv is not None and self.pixel:
            self.encodes = self.conv.window.height * self.conv.window.width
        self.lanes = self._lanes()
        self.fan_ins = self._fan_ins()
        self._regroup: dict[tuple[int, int, bool], tuple[int, Area]] = {}

    def _lanes(self) -> list[int]:
        outputs, wish = self.row.out_features, self.wish.lanes
        if wish is not None:
            return [divisor(outputs, wish) if self.conv else min(wish, outputs)]
        return [k for k in sizes(outputs) if not self.conv or outputs % k == 0]

    def _fan_ins(self) -> list[int]:
        wish = self.wish.fan_in
        most = self.row.codebooks
        return sizes(most) if wish is None else [min(wish, most)]

    @cached_property
    def matchers(self) -> dict[tuple[int, int], tuple[int, Area]]:
        """Lookup cycles and area, by lanes and fan-in."""
        found = {}
        for fan_in in self.fan_ins:
            for lanes in self.lanes:
                row = replace(self.row, lanes=lanes, fan_in=fan_in)
                area = self.costs.memory(matcher_memories(row))
                area += self.costs.logic(matcher_counts(row))
                if row.buffered and not self.pixel:
                    depth = 4 << max(1, clog2(row.groups))
                    kept = MemorySpec("index_buffer", depth, fan_in * row.index_bits, "buffer")
                    area += self.costs.memory([kept]) + self.costs.logic(index_counts(row))
                found[lanes, fan_in] = (row.lookups * self.visits, area)
        return found

    @cached_property
    def halves(self) -> dict[int, dict[int, list[_Half]]]:
        """By fan-in and word, the encoders that are the fastest or the cheapest."""
        found: dict[int, dict[int, list[_Half]]] = {}
        for fan_in in self.fan_ins:
            for half in self._halves(fan_in):
                found.setdefault(fan_in, {}).setdefault(half.word, []).append(half)
        for words in found.values():
            for word, halves in words.items():
                words[word] = front(halves)
        return found

    def _halves(self, fan_in: int) -> Iterator[_Half]:
        base = replace(self.row, fan_in=fan_in)
        lines = Area()
        if self.conv is not None:
            lines = self.costs.logic(line_counts(self.conv.walk))
        if self.conv is not None and self.pixel:
            conv = replace(self.conv, fan_in=fan_in, lanes=1)
            lines += self.costs.memory(feed_memories(conv))
        for centroids, dims in self._encoders():
            row = replace(base, encoder_centroids=centroids, encoder_dims=dims)
            area = self.costs.memory(encoder_memories(row)) + lines
            area += self.costs.logic(encoder_counts(row))
            steps = row.encoder.interval
            cycles = row.groups * steps * self.encodes
            if not self.windowed:
                yield _Half(cycles, self.costs.price(area), area, centroids, dims, 0, steps)
                continue
            for word, fed, more in self._words(row):
                whole = area + more
                price = self.costs.price(whole)
                interval = max(cycles, fed)
                yield _Half(interval, price, whole, centroids, dims, word, steps)

    def _encoders(self) -> Iterator[tuple[int, int]]:
        row, wish = self.row, self.wish
        if row.metric == "digit":
            yield 1, 1
            return
        some = [1 << k for k in range(clog2(row.centroids))] + [row.centroids]
        if wish.encoder_centroids is not None:
            some = [min(wish.encoder_centroids, row.centroids)]
        dims = efficient(row.subvec)
        if wish.encoder_dims is not None:
            dims = [min(wish.encoder_dims, row.subvec)]
        yield from ((c, d) for c in some for d in dims)

    @cached_property
    def _lines(self) -> dict[int, Area]:
        """The line buffer's memory, by the channels of a word."""
        assert self.conv is not None
        channels = self.conv.in_channels
        return {
            word: self.costs.memory(
                feed_memories(replace(self.conv, lanes=1, fan_in=1, window_channels=word))
            )
            for word in range(1, channels + 1)
            if self._fits(word, self.row.group_items)
        }

    def _fits(self, word: int, group: int) -> bool:
        assert self.conv is not None
        items = word * self.row.items_per_element
        area, order = self.conv.window.area, self.conv.order
        return FeederSpec.fits(area, self.conv.in_channels, word, order, items, group)

    def _words(self, row: LinearSpec) -> Iterator[tuple[int, int, Area]]:
        """Channels of a word, cycles, area of the feeder and the line buffer."""
        assert self.conv is not None
        conv, group = self.conv, row.group_items
        words = [word for word in self._lines if self._fits(word, group)]
        wish = self.wish.window_channels
        if wish is not None and words:
            words = [max([word for word in words if word <= wish], default=words[0])]
        for word in words:
            feeder = FeederSpec(
                conv.window.area,
                conv.in_channels,
                word,
                conv.order,
                row.items_per_element,
                group,
                row.encoder.interval,
            )
            logic = self.costs.logic(feeder_counts(feeder, row.item_bits))
            yield word, feeder.interval * self.visits, self._lines[word] + logic

    @property
    def intervals(self) -> set[int]:
        found = {cycles for cycles, _ in self.matchers.values()}
        for words in self.halves.values():
            for halves in words.values():
                found |= {half.interval for half in halves}
        return found

    def _input(self, lanes: int, fan_in: int, half: _Half) -> tuple[int, Area]:
        """Cycles and area of the regrouper in the stage."""
        items = half.word if self.windowed else fan_in
        key = (lanes, items, half.steps > 1)
        if key not in self._regroup:
            if self.conv is not None and self.windowed:
                elements = self.conv.window.height * self.conv.window.width * self.conv.in_channels
                spec = RegrouperSpec(elements, lanes, half.word)
                bits, rows = self.row.element.bits, 1
            else:
                row = replace(self.row, fan_in=fan_in)
                spec = replace(row.regrouper(lanes), hold=half.steps)
                bits, rows = row.item_bits, self.encodes
            area = self.costs.logic(regrouper_counts(spec, bits))
            self._regroup[key] = (spec.parts * rows, area)
        return self._regroup[key]

    def within(self, gives: tuple[PortSpec, ...], interval: int) -> list[Choice]:
        give = gives[0]
        lanes = gcd(give.lanes, self.row.in_features) if self.pixel else give.lanes
        before, extra = self.regroup(give, lanes)
        if before > interval:
            return []
        best: dict[int, tuple[float, int, _Half, Area, int]] = {}
        for fan_in, words in self.halves.items():
            ways = []
            for halves in words.values():
                half = next((h for h in halves if h.interval <= interval), None)
                if half is None:
                    continue
                fed, area = self._input(lanes, fan_in, half)
                if fed <= interval:
                    price = half.price + self.costs.price(area)
                    ways.append((price, half, area, max(fed, half.interval)))
            if not ways:
                continue
            price, half, area, busy = min(ways, key=lambda way: way[0])
            for out in self.lanes:
                lookups, matcher = self.matchers[out, fan_in]
                total = price + self.costs.price(matcher)
                if lookups <= interval and (out not in best or total < best[out][0]):
                    whole = half.area + area + matcher
                    best[out] = (total, fan_in, half, whole, max(busy, lookups, before))
        return [
            self.choice(
                out,
                busy,
                Fold(out, fan_in, half.centroids, half.dims, half.word or None),
                area + extra,
            )
            for out, (_, fan_in, half, area, busy) in best.items()
        ]


def front(halves: list[_Half]) -> list[_Half]:
    """Those that none beats in both interval and price, the cheapest first."""
    kept: list[_Half] = []
    for half in sorted(halves, key=lambda h: (h.price, h.interval)):
        if not kept or half.interval < kept[-1].interval:
            kept.append(half)
    return kept


class OtherOptions(Options):
    """Of a node without tables of its own to fold: only lanes.

    Parameters
    ----------
    node, o, costs
        See `Options`.
    planner : Planner
        What makes the stage.
    wish : Fold
    channels : int
        Of its result, or elements.
    """

    def __init__(
        self,
        node: Node,
        o: PortSpec,
        costs: Costs,
        planner: Planner,
        wish: Fold,
        channels: int,
    ) -> None:
        super().__init__(node, o, costs)
        self.planner, self.wish, self.channels = planner, wish, channels
        self._known: dict[tuple[tuple[int, ...], int | None], Choice] = {}

    @property
    def wishes(self) -> list[int | None]:
        """Lanes to try."""
        if self.wish.lanes is not None or not isinstance(
            self.node, MaxPool2d | AvgPool2d | Add | Map
        ):
            return [self.wish.lanes]
        return list(sizes(self.channels))

    @property
    def intervals(self) -> set[int]:
        if isinstance(self.node, MaxPool2d | AvgPool2d):
            give = (replace(self.o, lanes=1),)
            pools = [self.planner.stage(self.node, list(give), Fold(k))[1] for k in self.wishes]
            return {pool.interval for pool in pools if isinstance(pool, PoolSpec)}
        return {ceil_div(self.o.elements, k) for k in sizes(self.channels)}

    def within(self, gives: tuple[PortSpec, ...], interval: int) -> list[Choice]:
        found: dict[int, Choice] = {}
        for lanes in self.wishes:
            choice = self._choice(gives, lanes)
            if choice.interval > interval:
                continue
            if choice.lanes not in found or choice.cost < found[choice.lanes].cost:
                found[choice.lanes] = choice
        return list(found.values())

    def _choice(self, gives: tuple[PortSpec, ...], lanes: int | None) -> Choice:
        key = (tuple(give.lanes for give in gives), lanes)
        if key not in self._known:
            wish = Fold(lanes=lanes)
            wants, spec, o = self.planner.stage(self.node, list(gives), wish)
            stage = Stage(self.node.name, self.node.op, self.node.inputs, spec, wants, o)
            ways = [self.regroup(give, wants) for give in gives]
            area = self.costs.logic(stage_counts(stage)) + self.costs.memory(stage_memories(stage))
            area = sum((more for _, more in ways), area)
            busy = max(stage.interval, *(cycles for cycles, _ in ways))
            if isinstance(spec, PoolSpec):
                wish = Fold(lanes=spec.lanes)
            self._known[key] = self.choice(o.lanes, busy, wish, area)
        return self._known[key]
