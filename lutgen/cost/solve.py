"""The folds of a whole core: the cheapest for an interval, or the fastest for a device.

Stages depend on each other through the widths of the beats between them alone. So the cheapest
core is found exactly, stage by stage: for every set of widths that later stages see, the cheapest
way to get there is kept. What depends on the whole schedule (the depths of queues) is left out
there, and counted afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

from lutgen.cost.area import Area, CoreArea, coefficients, core_area
from lutgen.cost.options import BEAT, Choice, Costs, LookupOptions, Options, OtherOptions, sizes
from lutgen.errors import LutgenError
from lutgen.model import Flatten, LutConv2d, LutLinear, Model
from lutgen.model.fold import Fold
from lutgen.model.plan import Planner, check_layers, default_input_lanes, plan
from lutgen.numeric import as_int
from lutgen.spec.conv import Conv2dSpec
from lutgen.spec.linear import LinearSpec
from lutgen.spec.network import NetworkSpec, PortSpec
from lutgen.spec.target import DEVICES, TARGETS, Device, Target

__all__ = ["Solution", "solve"]

RATES = (
    1.0,
    2.0,
    4.0,
    0.5,
    0.25,
)  # what a block may be worth, where the usual does not fit a device
TRIES = 6


@dataclass(frozen=True)
class Solution:
    """A fold for every stage.

    Attributes
    ----------
    spec : NetworkSpec
        The plan: `lutgen.build(model, spec=...)` takes it.
    folds : dict of str to Fold
        By node.
    wanted : int
        The interval that stages were chosen for.
    cost : float
        What was made least: lookup tables, with blocks and flip-flops counted as such, before the
        depths of queues are known. Never more for a longer interval.
    area : CoreArea
        The estimate of the whole.
    target : Target
    device : Device or None
    why : str
        What keeps it from being faster.
    """

    spec: NetworkSpec
    folds: dict[str, Fold]
    wanted: int
    cost: float
    area: CoreArea
    target: Target
    device: Device | None
    why: str


@dataclass(frozen=True)
class _Way:
    """The cheapest way to some widths."""

    cost: float
    area: Area
    input_lanes: int
    choices: tuple[Choice, ...]


class _UnmetError(LutgenError):
    """No fold is fast enough."""


class _Solver:
    """A model's options on a target."""

    def __init__(
        self,
        model: Model,
        target: Target,
        input_lanes: int | None,
        fold: Fold,
        layers: Mapping[str, Fold],
        loadable: bool,
    ) -> None:
        self.model, self.loadable = model, loadable
        self.costs = Costs(target, coefficients(target.name))
        elements = prod(model.shape)
        self.inputs = sizes(elements) if input_lanes is None else [input_lanes]
        widest = 64 if input_lanes is None else max(self.inputs)
        self.inputs = [k for k in self.inputs if k <= widest]
        self.least = default_input_lanes(elements, model.input.format)
        port = PortSpec(elements, model.input.format, 1)
        planner = Planner(model, port, loadable)
        wires = model.wires()
        self.ports: dict[str, PortSpec] = {"input": port}
        self.alias = {"input": "input"}
        self.nodes: list[Options] = []
        for node in model.nodes:
            sources = tuple(self.alias[name] for name in node.inputs)
            if isinstance(node, Flatten):
                self.alias[node.name] = sources[0]
                continue
            wish = layers.get(node.name, Fold()).over(fold)
            wish.check()
            gives = [self.ports[source] for source in sources]
            _, spec, o = planner.stage(node, gives, replace(wish, lanes=None))
            self.alias[node.name] = node.name
            self.ports[node.name] = replace(o, lanes=1)
            if isinstance(node, LutLinear | LutConv2d):
                assert isinstance(spec, LinearSpec | Conv2dSpec)
                self.nodes.append(LookupOptions(node, o, self.costs, spec, wish))
                continue
            shape = wires[node.name].shape
            channels = shape[2] if len(shape) == 3 else o.elements
            self.nodes.append(OtherOptions(node, o, self.costs, planner, wish, channels))

    @property
    def intervals(self) -> list[int]:
        """Intervals that some stage can have, ascending."""
        found: set[int] = {-(-self.ports["input"].elements // k) for k in self.inputs}
        for options in self.nodes:
            found |= options.intervals
        return sorted(found)

    def sources(self, options: Options) -> tuple[str, ...]:
        """The stages that feed a node."""
        return tuple(self.alias[name] for name in options.node.inputs)

    def cheapest(self, interval: int) -> _Way:
        """The core that costs least of those whose stages take at most this interval.

        Raises
        ------
        _UnmetError
            If there is none; names the stage.
        """
        uses = [self.sources(options) for options in self.nodes]
        elements = self.ports["input"].elements
        ways: dict[tuple[tuple[str, int], ...], _Way] = {}
        for lanes in self.inputs:
            if -(-elements // lanes) <= interval:
                port = replace(self.ports["input"], lanes=lanes)
                area = self.costs.queue(port)
                # Wires of the port cost nothing, but are not to be wider than they need be.
                cost = self.costs.price(area) + max(0, lanes - self.least) * 0.1
                cost += BEAT * port.beats
                ways[("input", lanes),] = _Way(cost, area, lanes, ())
        if not ways:
            most = -(-elements // max(self.inputs))
            raise _UnmetError(
                f"the input: can't take a sample in less than {most} cycles, {most - interval} "
                f"more than the {interval} asked for"
            )
        for number, options in enumerate(self.nodes):
            live = {name for later in uses[number + 1 :] for name in later}
            after: dict[tuple[tuple[str, int], ...], _Way] = {}
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
                        after[new] = _Way(
                            cost, way.area + choice.area, way.input_lanes, (*way.choices, choice)
                        )
            if not after:
                raise _UnmetError(self._slow(options, interval))
            ways = after
        return min(ways.values(), key=lambda way: way.cost)

    def _slow(self, options: Options, interval: int) -> str:
        least = min((k for k in self.intervals if self._can(options, k)), default=None)
        name = f"layer {options.node.name!r}"
        if least is None or least <= interval:
            return f"{name}: no fold takes at most {interval} cycles behind the stages before it"
        return (
            f"{name}: can't be faster than {least} cycles, {least - interval} more than the "
            f"{interval} asked for"
        )

    def _can(self, options: Options, interval: int) -> bool:
        count = len(options.node.inputs)
        source = self.sources(options)[0]
        widths = self.inputs if source == "input" else sizes(self.ports[source].elements)
        gives = ((replace(self.ports[source], lanes=k),) * count for k in widths if k <= 4096)
        return any(options.within(give, interval) for give in gives)

    def folds(self, way: _Way) -> dict[str, Fold]:
        """By node."""
        pairs = zip(self.nodes, way.choices, strict=True)
        return {o.node.name: choice.fold for o, choice in pairs if choice.fold != Fold()}

    def spec(self, way: _Way, name: str | None) -> NetworkSpec:
        """The plan."""
        return plan(
            self.model,
            name=name,
            input_lanes=way.input_lanes,
            layers=self.folds(way),
            loadable=self.loadable,
        )


def solve(
    model: Model,
    *,
    interval: int | None = None,
    device: str | None = None,
    target: str | None = None,
    margin: float = 0.2,
    name: str | None = None,
    input_lanes: int | None = None,
    fold: Fold | None = None,
    layers: Mapping[str, Fold] | None = None,
    loadable: bool = False,
) -> Solution:
    """Folds for an interval, for a device, or for both.

    Parameters
    ----------
    model : Model
    interval : int or None
        Cycles between results, at most; the core that costs least is chosen.
    device : str or None
        A name in `lutgen.spec.target.DEVICES`: without ``interval`` the fastest core that fits.
    target : str or None
        The family whose costs count, where there is no device; by default ``ice40``.
    margin : float
        The part of the device that is left free, for what estimates don't know.
    name, input_lanes, fold, layers, loadable
        See `lutgen.model.plan.plan`; what is given there stays.

    Raises
    ------
    LutgenError
        If no fold does it: names the stage that misses, by how much, and what would do.
    ValueError, TypeError
        If an argument is out of range.
    """
    if interval is None and device is None:
        raise ValueError("An interval or a device must be given")
    if interval is not None:
        as_int(interval, "Interval", low=1)
    if device is not None and device not in DEVICES:
        raise ValueError(f"Device must be one of {', '.join(DEVICES)}, not {device!r}")
    if not 0 <= margin < 1:
        raise ValueError(f"Margin must be at least 0 and less than 1, not {margin}")
    check_layers(model, layers or {})
    chip = None if device is None else DEVICES[device]
    family = chip.target if chip else TARGETS[target or "ice40"]
    request = _Request(model, name, input_lanes, fold or Fold(), layers or {}, loadable, margin)
    if chip is None:
        assert interval is not None
        return request.for_interval(family, interval)
    return request.for_device(chip, interval)


@dataclass(frozen=True)
class _Request:
    """What `solve` was asked."""

    model: Model
    name: str | None
    input_lanes: int | None
    fold: Fold
    layers: Mapping[str, Fold]
    loadable: bool
    margin: float

    def solver(self, target: Target) -> _Solver:
        return _Solver(self.model, target, self.input_lanes, self.fold, self.layers, self.loadable)

    def for_interval(self, target: Target, interval: int) -> Solution:
        """The cheapest."""
        solver = self.solver(target)
        wanted = interval
        exact = 0
        for _ in range(TRIES):
            way = solver.cheapest(wanted)
            spec = solver.spec(way, self.name)
            exact = spec.timing.interval
            if exact <= interval:
                why = f"{interval} cycles were asked for, and nothing cheaper does it"
                area = core_area(spec, target)
                return Solution(spec, solver.folds(way), wanted, way.cost, area, target, None, why)
            # Bursts: stages that wait for each other. A little faster, each, makes up for it.
            wanted = min(wanted - 1, wanted * interval // exact)
            if wanted < 1:
                break
        raise LutgenError(
            f"{self.model.name}: the stages can do it in {interval} cycles, but together they take "
            f"{exact}: they wait for each other; ask for {exact} or more"
        )

    def for_device(self, device: Device, interval: int | None) -> Solution:
        """The fastest that fits, or the cheapest of an interval."""
        best: Solution | None = None
        for rate in RATES:
            target = replace(device.target, block_luts=round(rate * device.target.block_luts))
            found = self._fitting(device, target, interval)
            if interval is not None and found is not None:
                return found
            if found is not None and (
                best is None or found.spec.timing.interval < best.spec.timing.interval
            ):
                best = found
        if best is not None:
            return best
        raise LutgenError(self._misfit(device, interval))

    def _fitting(self, device: Device, target: Target, interval: int | None) -> Solution | None:
        """With a block worth so much."""
        if interval is not None:
            # What is cheapest may take more of what the device has little of than a faster core.
            some = self.solver(target).intervals
            for at in [interval, *(k for k in reversed(some) if k < interval)][:TRIES]:
                try:
                    found = replace(self.for_interval(target, at), device=device)
                except LutgenError:
                    if at == interval:
                        raise
                    return None
                if self._fits(found.area.total, device):
                    why = f"{interval} cycles were asked for, and this is the first that fits"
                    return found if at == interval else replace(found, why=why)
            return None
        solver = self.solver(target)
        intervals = solver.intervals
        low, high = -1, len(intervals)  # too fast for the device, and slow enough
        slower: tuple[int, Solution] | None = None
        while True:
            while high - low > 1:
                middle = (low + high) // 2
                way = self._try(solver, intervals[middle])
                if way is not None and self._fits(way.area, device):
                    high = middle
                else:
                    low = middle
            if high == len(intervals):
                return None if slower is None else slower[1]
            way = solver.cheapest(intervals[high])
            spec = solver.spec(way, self.name)
            area = core_area(spec, target)
            if self._fits(area.total, device):
                why = self._why(solver, intervals, high, device)
                return Solution(
                    spec, solver.folds(way), intervals[high], way.cost, area, target, device, why
                )
            low, high = high, len(intervals)  # the queues took too much
            if low == high - 1:
                return None

    def _try(self, solver: _Solver, interval: int) -> _Way | None:
        try:
            return solver.cheapest(interval)
        except _UnmetError:
            return None

    def _fits(self, area: Area, device: Device) -> bool:
        return not self._excess(area, device)

    def _excess(self, area: Area, device: Device) -> list[tuple[float, str]]:
        """What is too much, by how many times, and in words."""
        free = 1 - self.margin
        found = []
        for what, need, have in (
            ("LUTs", area.luts, device.luts),
            ("flip-flops", area.ffs, device.ffs),
            ("block RAMs", area.blocks, device.blocks),
            ("single-port RAMs", area.single, device.target.single_count),
        ):
            most = have if what == "single-port RAMs" else have * free
            if need > most:
                text = f"{need:,.0f} {what} of {most:,.0f}"
                found.append((need / most if most else float("inf"), text))
        return sorted(found, reverse=True)

    def _why(self, solver: _Solver, intervals: list[int], at: int, device: Device) -> str:
        if at == 0:
            return "no fold is faster"
        faster = intervals[at - 1]
        try:
            area = solver.cheapest(faster).area
        except _UnmetError as error:
            return str(error)
        excess = self._excess(area, device)
        if not excess:
            return f"{faster} cycles fit but for the queues"
        return f"{faster} cycles would take {excess[0][1]}"

    def _misfit(self, device: Device, interval: int | None) -> str:
        """What misses, by how much, and what would do."""
        solver = self.solver(device.target)
        way = solver.cheapest(interval or solver.intervals[-1])
        area = core_area(solver.spec(way, self.name), device.target)
        excess = self._excess(area.total, device) or [(1.0, "the queues' block RAMs")]
        what = "blocks" if "block" in excess[0][1] else "luts"
        name, worst = max(area.stages.items(), key=lambda pair: float(getattr(pair[1], what)))
        share = getattr(worst, what)
        unit = "block RAMs" if what == "blocks" else "LUTs"
        text = (
            f"device {device.name}: needs {excess[0][1]} (with a margin of {self.margin:.0%}); "
            f"layer {name!r} alone takes {share:,.0f} {unit}"
        )
        others = sorted(DEVICES.values(), key=lambda other: other.luts)
        for other in others:
            if other.luts <= device.luts:
                continue
            fits = self.solver(other.target)
            way = fits.cheapest(interval or fits.intervals[-1])
            if self._fits(core_area(fits.spec(way, self.name), other.target).total, other):
                return f"{text}; the smallest device that does is {other.name}"
        return f"{text}; no device that is known does"
