"""The folds of one node, each with what it takes: what `lutgen.cost.solve` chooses from.

A lookup layer's cost is that of two halves, which only share the fan-in: encoders with what feeds
them, and the matcher. So their folds are looked at apart, and a few hundred sums do for what would
be tens of thousands of stages.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import gcd

from lutgen.cost.area import Area
from lutgen.cost.choice import Choice, Costs, Options, Parts, sizes
from lutgen.cost.counts import (
    encoder_counts,
    feeder_counts,
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

__all__ = ["LookupOptions", "OtherOptions"]


def efficient(count: int) -> list[int]:
    """The least numbers at once for every number of turns."""
    return sorted({ceil_div(count, k) for k in range(1, count + 1)})


@dataclass(frozen=True)
class _Bare:
    """The encoders' side of a lookup layer, without a price."""

    interval: int
    parts: Parts
    centroids: int
    dims: int
    word: int
    steps: int


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

    def _forget(self) -> None:
        for key in ("matchers", "halves"):
            self.__dict__.pop(key, None)

    @cached_property
    def _matchers(self) -> dict[tuple[int, int], tuple[int, Parts]]:
        found = {}
        for fan_in in self.fan_ins:
            for lanes in self.lanes:
                row = replace(self.row, lanes=lanes, fan_in=fan_in)
                logic = self.costs.logic(matcher_counts(row))
                memories = list(matcher_memories(row))
                if row.buffered and not self.pixel:
                    depth = 4 << max(1, clog2(row.groups))
                    width = fan_in * row.index_bits
                    memories.append(MemorySpec("index_buffer", depth, width, "buffer"))
                    logic += self.costs.logic(index_counts(row))
                found[lanes, fan_in] = (row.lookups * self.visits, Parts(logic, tuple(memories)))
        return found

    @cached_property
    def matchers(self) -> dict[tuple[int, int], tuple[int, Area]]:
        """Lookup cycles and area, by lanes and fan-in."""
        return {k: (cycles, self.costs.area(p)) for k, (cycles, p) in self._matchers.items()}

    @cached_property
    def _bare(self) -> dict[int, list[_Bare]]:
        """All encoders, by fan-in."""
        return {fan_in: list(self._halves(fan_in)) for fan_in in self.fan_ins}

    @cached_property
    def halves(self) -> dict[int, dict[int, list[_Half]]]:
        """By fan-in and word, the encoders that are the fastest or the cheapest."""
        found: dict[int, dict[int, list[_Half]]] = {}
        for fan_in, some in self._bare.items():
            for bare in some:
                area = self.costs.area(bare.parts)
                half = _Half(
                    bare.interval,
                    self.costs.price(area),
                    area,
                    bare.centroids,
                    bare.dims,
                    bare.word,
                    bare.steps,
                )
                found.setdefault(fan_in, {}).setdefault(half.word, []).append(half)
        for words in found.values():
            for word, halves in words.items():
                words[word] = front(halves)
        return found

    def _halves(self, fan_in: int) -> Iterator[_Bare]:
        base = replace(self.row, fan_in=fan_in)
        lines = Parts()
        if self.conv is not None:
            lines = Parts(self.costs.logic(line_counts(self.conv.walk)))
        if self.conv is not None and self.pixel:
            conv = replace(self.conv, fan_in=fan_in, lanes=1)
            lines += Parts(memories=tuple(feed_memories(conv)))
        for centroids, dims in self._encoders():
            row = replace(base, encoder_centroids=centroids, encoder_dims=dims)
            logic = self.costs.logic(encoder_counts(row))
            parts = Parts(logic, tuple(encoder_memories(row))) + lines
            steps = row.encoder.interval
            cycles = row.groups * steps * self.encodes
            if not self.windowed:
                yield _Bare(cycles, parts, centroids, dims, 0, steps)
                continue
            for word, fed, more in self._words(row):
                yield _Bare(max(cycles, fed), parts + more, centroids, dims, word, steps)

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
    def _lines(self) -> dict[int, tuple[MemorySpec, ...]]:
        """The line buffer's memory, by the channels of a word."""
        assert self.conv is not None
        channels = self.conv.in_channels
        return {
            word: tuple(feed_memories(replace(self.conv, lanes=1, fan_in=1, window_channels=word)))
            for word in range(1, channels + 1)
            if self._fits(word, self.row.group_items)
        }

    def _fits(self, word: int, group: int) -> bool:
        assert self.conv is not None
        items = word * self.row.items_per_element
        area, order = self.conv.window.area, self.conv.order
        return FeederSpec.fits(area, self.conv.in_channels, word, order, items, group)

    def _words(self, row: LinearSpec) -> Iterator[tuple[int, int, Parts]]:
        """Channels of a word, cycles, the feeder and the line buffer."""
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
            yield word, feeder.interval * self.visits, Parts(logic, self._lines[word])

    @cached_property
    def intervals(self) -> set[int]:
        found = {cycles for cycles, _ in self._matchers.values()}
        return found | {half.interval for some in self._bare.values() for half in some}

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
        self._bare: dict[tuple[tuple[int, ...], int | None], tuple[int, int, Fold, Parts]] = {}
        self._forget()

    def _forget(self) -> None:
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
            if key not in self._bare:
                self._bare[key] = self._stage(gives, lanes)
            out, busy, fold, parts = self._bare[key]
            self._known[key] = self.choice(out, busy, fold, self.costs.area(parts))
        return self._known[key]

    def _stage(
        self, gives: tuple[PortSpec, ...], lanes: int | None
    ) -> tuple[int, int, Fold, Parts]:
        """Lanes, interval, fold, and what it is made of."""
        fold = Fold(lanes=lanes)
        wants, spec, o = self.planner.stage(self.node, list(gives), fold)
        stage = Stage(self.node.name, self.node.op, self.node.inputs, spec, wants, o)
        ways = [self.regroup(give, wants) for give in gives]
        logic = sum((more for _, more in ways), self.costs.logic(stage_counts(stage)))
        busy = max(stage.interval, *(cycles for cycles, _ in ways))
        if isinstance(spec, PoolSpec):
            fold = Fold(lanes=spec.lanes)
        return o.lanes, busy, fold, Parts(logic, tuple(stage_memories(stage)))
