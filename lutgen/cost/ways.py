"""The cheapest folds of a whole core for an interval.

Stages depend on each other through the widths of the beats between them alone. So the cheapest
core is found exactly, stage by stage: for every set of widths that later stages see, the cheapest
way to get there is kept. What depends on the whole schedule (the depths of queues) is left out
here, and counted afterwards.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

from lutgen.cost.area import Area, coefficients
from lutgen.cost.choice import BEAT, Choice, Costs, Options, sizes
from lutgen.cost.options import LookupOptions, OtherOptions
from lutgen.cost.slides import EitherOptions, SlideOptions
from lutgen.errors import LutgenError
from lutgen.model import Flatten, LutConv2d, LutLinear, Model
from lutgen.model.fold import FOLD_FIELDS, Fold
from lutgen.model.plan import Planner, default_input_lanes, has_fold, plan
from lutgen.spec.conv import Conv2dSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.network import NetworkSpec, PortSpec
from lutgen.spec.target import Target
from lutgen.words import counted

__all__ = ["Solver", "UnmetError", "Way", "Wishes", "title"]


@dataclass(frozen=True)
class Way:
    """The cheapest way to some widths."""

    cost: float
    area: Area
    input_lanes: int
    choices: tuple[Choice, ...]


@dataclass(frozen=True)
class Wishes:
    """What is settled before anything is chosen; see `lutgen.model.plan.plan`."""

    name: str | None = None
    input_lanes: int | None = None
    fold: Fold = field(default_factory=Fold)
    layers: Mapping[str, Fold] = field(default_factory=dict)
    loadable: bool = False

    def of(self, node: str) -> Fold:
        """A node's."""
        return self.layers.get(node, Fold()).over(self.fold)


class UnmetError(LutgenError):
    """No fold is fast enough.

    Attributes
    ----------
    needs : dict of str to int
        Cycles that stages take at least, of those that are too slow, the slowest first.
    ask : int or None
        The interval that the text says to ask for.
    """

    def __init__(self, text: str, needs: dict[str, int], ask: int | None) -> None:
        super().__init__(text if ask is None else f"{text}; ask for {ask} or more")
        self.text, self.needs, self.ask = text, needs, ask

    def asking(self, ask: int | None) -> "UnmetError":
        """The same with another interval to ask for, or none."""
        return UnmetError(self.text, self.needs, ask)


class Solver:
    """A model's options on a target.

    Parameters
    ----------
    model : Model
    target : Target
    wishes : Wishes
    """

    def __init__(self, model: Model, target: Target, wishes: Wishes) -> None:
        self.model, self.wishes = model, wishes
        input_lanes = wishes.input_lanes
        self.costs = Costs(target, coefficients(target.name))
        elements = prod(model.shape)
        self.inputs = sizes(elements) if input_lanes is None else [input_lanes]
        widest = 64 if input_lanes is None else max(self.inputs)
        self.inputs = [k for k in self.inputs if k <= widest]
        self.narrow = default_input_lanes(elements, model.input.format)
        port = PortSpec(elements, model.input.format, 1)
        planner = Planner(model, port, wishes.loadable)
        wires = model.wires()
        self.ports: dict[str, PortSpec] = {"input": port}
        self.alias = {"input": "input"}
        self.nodes: list[Options] = []
        for node in model.nodes:
            sources = tuple(self.alias[name] for name in node.inputs)
            if isinstance(node, Flatten):
                self.alias[node.name] = sources[0]
                continue
            wish = wishes.of(node.name)
            wish.check()
            gives = [self.ports[source] for source in sources]
            _, spec, o = planner.stage(node, gives, replace(wish, lanes=None))
            self.alias[node.name] = node.name
            self.ports[node.name] = replace(o, lanes=1)
            if isinstance(node, LutLinear | LutConv2d):
                assert isinstance(spec, LinearSpec | Conv2dSpec)
                self.nodes.append(self._lookups(node, o, spec, planner, gives[0], wish))
                continue
            shape = wires[node.name].shape
            channels = shape[2] if len(shape) == 3 else o.elements
            self.nodes.append(OtherOptions(node, o, self.costs, planner, wish, channels))

    def _lookups(
        self,
        node: LutLinear | LutConv2d,
        o: PortSpec,
        spec: LinearSpec | Conv2dSpec,
        planner: Planner,
        give: PortSpec,
        wish: Fold,
    ) -> Options:
        """Of a lookup layer; convolutions may keep whole windows in registers."""
        if isinstance(node, LutLinear):
            return LookupOptions(node, o, self.costs, spec, wish)
        slides = SlideOptions(node, o, self.costs, planner, give, wish)
        if wish.slide == 1:
            return slides
        taps = LookupOptions(node, o, self.costs, spec, wish)
        return taps if wish.slide == 0 else EitherOptions(taps, slides)

    def at(self, target: Target) -> "Solver":
        """The same where a block is worth something else."""
        other = copy(self)
        other.costs = Costs(target, self.costs.fit)
        other.nodes = [options.at(other.costs) for options in self.nodes]
        return other

    @cached_property
    def intervals(self) -> list[int]:
        """Intervals that some stage can have, ascending."""
        found: set[int] = {-(-self.ports["input"].elements // k) for k in self.inputs}
        for options in self.nodes:
            found |= options.intervals
        return sorted(found)

    def sources(self, options: Options) -> tuple[str, ...]:
        """The stages that feed a node."""
        return tuple(self.alias[name] for name in options.node.inputs)

    def cheapest(self, interval: int) -> Way:
        """The core that costs least of those whose stages take at most this interval.

        Raises
        ------
        UnmetError
            If there is none; names the stages that are too slow.
        """
        way = self.reach(interval)
        if way is None:
            raise self._unmet(interval)
        return way

    def reach(self, interval: int) -> Way | None:
        """`cheapest`; None if there is none."""
        uses = [self.sources(options) for options in self.nodes]
        elements = self.ports["input"].elements
        ways: dict[tuple[tuple[str, int], ...], Way] = {}
        for lanes in self.inputs:
            if -(-elements // lanes) <= interval:
                port = replace(self.ports["input"], lanes=lanes)
                area = self.costs.queue(port)
                # Wires of the port cost nothing, but are not to be wider than they need be.
                cost = self.costs.price(area) + max(0, lanes - self.narrow) * 0.1
                cost += BEAT * port.beats
                ways[("input", lanes),] = Way(cost, area, lanes, ())
        if not ways:
            return None
        for number, options in enumerate(self.nodes):
            live = {name for later in uses[number + 1 :] for name in later}
            after: dict[tuple[tuple[str, int], ...], Way] = {}
            known: dict[tuple[int, ...], list[Choice]] = {}
            for key, way in ways.items():
                widths = dict(key)
                lanes_in = tuple(widths[name] for name in uses[number])
                if lanes_in not in known:
                    gives = tuple(replace(self.ports[n], lanes=widths[n]) for n in uses[number])
                    known[lanes_in] = options.within(gives, interval)
                kept = tuple(pair for pair in key if pair[0] in live)
                for choice in known[lanes_in]:
                    cost = way.cost + choice.cost
                    new = (*kept, (options.node.name, choice.lanes))
                    if new not in after or cost < after[new].cost:
                        after[new] = Way(
                            cost, way.area + choice.area, way.input_lanes, (*way.choices, choice)
                        )
            if not after:
                return None
            ways = after
        return min(ways.values(), key=lambda way: way.cost)

    @cached_property
    def _widths(self) -> dict[str, list[int]]:
        """Lanes that a stage may give, the most first; a few, as more are faster."""
        found = {"input": sorted(self.inputs, reverse=True)[:3]}
        longest = self.intervals[-1]
        for options in self.nodes:
            lanes = {
                c.lanes
                for give in self._gives(options, found)
                for c in options.within(give, longest)
            }
            found[options.node.name] = sorted(lanes, reverse=True)[:3]
        return found

    def _gives(
        self, options: Options, widths: Mapping[str, list[int]]
    ) -> Iterator[tuple[PortSpec, ...]]:
        """Some of what may feed a node."""
        sources = self.sources(options)
        for lanes in zip(*(widths[name] for name in sources), strict=False):
            pairs = zip(sources, lanes, strict=True)
            yield tuple(replace(self.ports[name], lanes=k) for name, k in pairs)

    def least(self, name: str) -> int:
        """Cycles that a stage takes at least, whatever the others do."""
        if name == "input":
            return -(-self.ports["input"].elements // max(self.inputs))
        options = next(o for o in self.nodes if o.node.name == name)
        gives = list(self._gives(options, self._widths))
        some = sorted({*options.intervals, *(give.beats for g in gives for give in g)})
        found = bisect_left(
            some, True, key=lambda k: any(options.within(give, k) for give in gives)
        )
        return some[min(found, len(some) - 1)]

    def _unmet(self, interval: int) -> UnmetError:
        names = ["input", *(options.node.name for options in self.nodes)]
        least = {name: self.least(name) for name in names}
        slow = sorted((n for n in names if least[n] > interval), key=lambda n: -least[n])
        needs = {name: least[name] for name in slow}
        later = [k for k in self.intervals if k > max(needs.values(), default=interval)]
        some = [*list(needs.values())[:1], *later]
        at = bisect_left(some, True, key=lambda k: self.reach(k) is not None)
        ask = some[at] if at < len(some) else None
        if not needs:
            text = f"no folds of the stages together take at most {counted(interval, 'cycle')}"
            return UnmetError(f"{self.model.name}: {text}", needs, ask)
        worst, *others = slow
        text = (
            f"{title(worst)}: can't be faster than {counted(needs[worst], 'cycle')}, "
            f"{needs[worst] - interval} more than the {interval} asked for"
        )
        if others:
            text += f"; too slow are also {', '.join(f'{n} ({needs[n]})' for n in others)}"
        return UnmetError(f"{text}{self._blame(needs)}", needs, ask)

    def _blame(self, needs: Mapping[str, int]) -> str:
        """What wishes have to do with it."""
        free: Solver | None = None
        said = []
        for name, cycles in needs.items():
            given = {k: getattr(self.wishes.of(name), k) for k in FOLD_FIELDS}
            if name == "input":
                given = {"input_lanes": self.wishes.input_lanes}
            folds = [f"{k.replace('_', '-')}={v}" for k, v in given.items() if v is not None]
            if not folds:
                continue
            free = free or Solver(
                self.model, self.costs.target, Wishes(loadable=self.wishes.loadable)
            )
            if (least := free.least(name)) < cycles:
                said.append(f"; {name} is given {' '.join(folds)}, and could take {least} without")
        return "".join(said)

    def folds(self, way: Way) -> dict[str, Fold]:
        """By node, of those whose stages fold: wishes for all layers are no others' concern."""
        pairs = zip(self.nodes, way.choices, strict=True)
        return {
            options.node.name: choice.fold
            for options, choice in pairs
            if choice.fold != Fold() and has_fold(options.node)
        }

    def spec(self, way: Way) -> NetworkSpec:
        """The plan."""
        return plan(
            self.model,
            name=self.wishes.name,
            input_lanes=way.input_lanes,
            layers=self.folds(way),
            loadable=self.wishes.loadable,
        )


def title(name: str) -> str:
    """A stage at the beginning of a message."""
    return "the input" if name == "input" else f"layer {name!r}"
