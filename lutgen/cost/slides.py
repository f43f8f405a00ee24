"""The folds of a convolution that keeps whole windows in registers, beside those that do not."""

from lutgen.cost.area import Area
from lutgen.cost.choice import Choice, Costs, Options, Parts, sizes
from lutgen.cost.counts import fifo_counts, stage_counts
from lutgen.model.fold import Fold
from lutgen.model.lookup import LutConv2d
from lutgen.model.plan import Planner
from lutgen.numeric import ceil_div
from lutgen.spec.fifo import FifoSpec
from lutgen.spec.memory import MemorySpec, stage_memories
from lutgen.spec.network import PortSpec

__all__ = ["EitherOptions", "SlideOptions"]


class SlideOptions(Options):
    """Of a convolution on whole windows. Its encoders are as many as keep up with its lookups.

    Parameters
    ----------
    node : LutConv2d
    o, costs
        See `Options`.
    planner : Planner
        What makes the stages.
    give : PortSpec
        What feeds it; the lanes are left open.
    wish : Fold
    """

    def __init__(
        self,
        node: LutConv2d,
        o: PortSpec,
        costs: Costs,
        planner: Planner,
        give: PortSpec,
        wish: Fold,
    ) -> None:
        super().__init__(node, o, costs)
        self.conv, self.planner, self.give, self.wish = node, planner, give, wish
        self._bare: dict[int, list[tuple[int, int, Fold, Parts]]] = {}
        self._forget()

    def _forget(self) -> None:
        self._known: dict[int, list[Choice]] = {}

    @property
    def intervals(self) -> set[int]:
        return {interval for _, interval, _, _ in self._stages(self.give)}

    def within(self, gives: tuple[PortSpec, ...], interval: int) -> list[Choice]:
        best: dict[int, Choice] = {}
        for choice in self._choices(gives[0]):
            kept = best.get(choice.lanes)
            if choice.interval <= interval and (kept is None or choice.cost < kept.cost):
                best[choice.lanes] = choice
        return list(best.values())

    def _choices(self, give: PortSpec) -> list[Choice]:
        """All folds behind beats of so many lanes."""
        if give.lanes not in self._known:
            self._known[give.lanes] = [
                self.choice(lanes, interval, fold, self.costs.area(parts))
                for lanes, interval, fold, parts in self._stages(give)
            ]
        return self._known[give.lanes]

    def _stages(self, give: PortSpec) -> list[tuple[int, int, Fold, Parts]]:
        """Lanes, interval, fold, and what it is made of, for all folds."""
        if give.lanes not in self._bare:
            self._bare[give.lanes] = [self._stage(give, wish) for wish in self._wishes()]
        return self._bare[give.lanes]

    def _wishes(self) -> list[Fold]:
        """Those that need less than a cycle a tap, unless it is settled that windows are kept: one
        tap after the other takes less room.
        """
        node, wish = self.conv, self.wish
        area = node.kernel[0] * node.kernel[1]
        lookups = node.table.shape[-3] * (area if node.encode == "pixel" else 1)
        lanes = [k for k in sizes(node.out_channels) if node.out_channels % k == 0]
        fan_ins = sizes(lookups) if wish.fan_in is None else [min(wish.fan_in, lookups)]
        return [
            Fold(out, fan_in, slide=1).over(wish)
            for out in (lanes if wish.lanes is None else [wish.lanes])
            for fan_in in fan_ins
            if wish.slide or ceil_div(lookups, fan_in) * ceil_div(node.out_channels, out) < area
        ]

    def _stage(self, give: PortSpec, wish: Fold) -> tuple[int, int, Fold, Parts]:
        stages = self.planner.slid(self.conv, give, wish)
        logic = Area()
        memories: list[MemorySpec] = []
        for stage in stages:
            logic += self.costs.logic(stage_counts(stage))
            memories += stage_memories(stage)
        for stage in stages[:-1]:  # the last one's queue is counted with the choice
            logic += self.costs.logic(fifo_counts(FifoSpec(stage.o.bits, stage.least_depth)))
        busy = max(stage.interval for stage in stages)
        return stages[-1].o.lanes, busy, wish, Parts(logic, tuple(memories))


class EitherOptions(Options):
    """What two kinds of options have to offer.

    Parameters
    ----------
    one, other : Options
        Of the same node.
    """

    def __init__(self, one: Options, other: Options) -> None:
        super().__init__(one.node, one.o, one.costs)
        self.one, self.other = one, other

    def at(self, costs: Costs) -> Options:
        return EitherOptions(self.one.at(costs), self.other.at(costs))

    @property
    def intervals(self) -> set[int]:
        return self.one.intervals | self.other.intervals

    def within(self, gives: tuple[PortSpec, ...], interval: int) -> list[Choice]:
        best: dict[int, Choice] = {}
        for choice in [*self.one.within(gives, interval), *self.other.within(gives, interval)]:
            if choice.lanes not in best or choice.cost < best[choice.lanes].cost:
                best[choice.lanes] = choice
        return list(best.values())
