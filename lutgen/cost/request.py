"""What a core was asked to be, and the one answer to whether there is one.

`Request.attempt` is what `lutgen.cost.solve.solve` gives for a device, and what a refusal asks of
every margin, interval and device that it proposes: so what it proposes is accepted when it is
followed.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil

from lutgen.cost.area import Area, CoreArea, core_area, core_memories
from lutgen.cost.fit import Built, Fit, Ladder, excess
from lutgen.cost.ways import Solver, UnmetError, Wishes, title
from lutgen.errors import LutgenError
from lutgen.model import Model
from lutgen.model.fold import Fold
from lutgen.spec.network import NetworkSpec
from lutgen.spec.target import DEVICES, TARGETS, Device, Form, Target, choose_forms
from lutgen.words import counted

__all__ = ["LOOSE", "Request", "Solution", "burst_text"]

LOOSE = (0.3, 0.2, 0.15, 0.1, 0.05, 0.0)  # margins that are proposed
TRIES = 6
STRICTER = 5  # margins beyond the one asked for, where nothing shows that they are needless


@dataclass(frozen=True)
class Solution:
    """A fold for every stage.

    Attributes
    ----------
    spec : NetworkSpec
        The plan: `lutgen.build(model, spec=..., forms=...)` takes it.
    folds : dict of str to Fold
        By node.
    wanted : int
        The interval that stages were chosen for.
    cost : float
        What was made least: lookup tables, with blocks and flip-flops counted as such, before the
        depths of queues are known. For the same worth of a block, never more for a longer interval,
        unless there are single-port RAMs, which are shared out afterwards.
    area : CoreArea
        The estimate of the whole.
    target : Target
        The family, with the worth of a block that was counted with.
    forms : mapping of memory key to Form
        What memories are made of in the estimate.
    device : Device or None
    why : str
        What keeps it from being faster, or from being smaller.
    """

    spec: NetworkSpec
    folds: dict[str, Fold]
    wanted: int
    cost: float
    area: CoreArea
    target: Target
    forms: Mapping[tuple[str, int, int], Form]
    device: Device | None
    why: str


class Request:
    """What `lutgen.cost.solve.solve` was asked of one model, but for the device.

    Parameters
    ----------
    model : Model
    wishes : Wishes
    say : callable
        Takes a line of progress.
    reserve : Area
        What stands beside the core.
    offer : collection of str or None
        The devices that may be proposed.
    """

    def __init__(
        self,
        model: Model,
        wishes: Wishes,
        say: Callable[[str], None],
        reserve: Area,
        offer: Collection[str] | None,
    ) -> None:
        self.model, self.wishes, self.say = model, wishes, say
        self.reserve, self.offer = reserve, offer
        # Cycles that cores take of which all stages are fast enough, by what was asked.
        self.bursts: dict[tuple[str, int | None, float], int] = {}
        self._ladders: dict[str, Ladder] = {}
        self._known: dict[tuple[str, int | None, float, bool], Solution | None] = {}

    def of(self, model: Model) -> "Request":
        """The same of another model."""
        return Request(model, self.wishes, self.say, self.reserve, self.offer)

    def loadable(self) -> "Request":
        """The same with tables in RAM."""
        wishes = replace(self.wishes, loadable=True)
        return Request(self.model, wishes, self.say, self.reserve, self.offer)

    def ladder(self, target: Target) -> Ladder:
        """Shared by all devices of the family."""
        if target.name not in self._ladders:
            self.say(f"looking at the folds on {target.name} ...")
            solver = Solver(self.model, TARGETS[target.name], self.wishes)
            self._ladders[target.name] = Ladder(solver)
        return self._ladders[target.name]

    def left(self, name: str) -> Device:
        """What a device has beside the reserve."""
        device = DEVICES[name]
        return replace(
            device,
            luts=round(device.luts - self.reserve.luts),
            ffs=round(device.ffs - self.reserve.ffs),
            blocks=device.blocks - self.reserve.blocks,
        )

    def fitter(self, name: str, margin: float, *, thorough: bool = False) -> Fit:
        """The search for a core on a device."""
        ladder = self.ladder(DEVICES[name].target)
        return Fit(ladder, self.left(name), margin, self.say, thorough=thorough)

    def attempt(
        self, name: str, interval: int | None, margin: float, *, quick: bool = False
    ) -> Solution | None:
        """A core that fits a device with a margin, of at most ``interval`` cycles, or else the
        fastest; None if none is found.

        What fits with a margin fits with any smaller one, and what fits at an interval at any
        longer one. ``quick`` looks less far: it finds nothing that the whole search does not find.

        Raises
        ------
        UnmetError
            If no core of any size is so fast.
        """
        key = (name, interval, margin, quick)
        if key not in self._known:
            self._known[key] = self._attempt(name, interval, margin, quick)
        return self._known[key]

    def _attempt(
        self, name: str, interval: int | None, margin: float, quick: bool
    ) -> Solution | None:
        for free, thorough in self._searches(name, interval, margin, quick):
            fit = self.fitter(name, free, thorough=thorough)
            found = fit.fastest() if interval is None else self._within(fit, interval)
            if found is not None:
                return self._solution(fit, *found, interval)
            if fit.hopeless(interval):
                break
        if quick:
            return None
        for loose in LOOSE:  # a search with less left free may find what leaves enough
            if loose < margin and (other := self.attempt(name, interval, loose)) is not None:
                if not excess(other.area.total, self.left(name), margin):
                    return other
        if interval is None:
            return None
        shorter = self._shorter(self.fitter(name, margin, thorough=True), interval)
        if shorter is not None:
            return self._solution(*shorter, interval)
        fastest = self.attempt(name, None, margin)
        if fastest is None or fastest.spec.timing.interval > interval:
            return None
        return replace(fastest, why=asked(interval))

    def _searches(
        self, name: str, interval: int | None, margin: float, quick: bool
    ) -> Iterator[tuple[float, bool]]:
        """Margins to look with, and whether thoroughly. A search with more left free may find what
        another one misses.
        """
        yield margin, False
        if quick:
            return
        yield margin, True
        step = 0.01 if interval is not None else 0.05
        first = ceil(margin / step + 1e-6)
        bounded = self.wishes.loadable and DEVICES[name].target.single_count
        last = first + STRICTER if bounded else round(1 / step)
        for number in range(first, last):
            if number * step < 1:
                yield number * step, False

    def _within(self, fit: Fit, interval: int) -> tuple[int, Built] | None:
        """One that fits, of an interval, and what its stages were chosen for."""
        wanted = interval
        fit.solver.cheapest(interval)  # complains where there is none of any size
        for _ in range(TRIES):
            found = fit.fit(wanted)
            if found is None:
                return None
            built = fit.build(found)
            exact = built.spec.timing.interval
            if exact > interval:
                self.bursts[fit.device.name, interval, fit.margin] = exact
                wanted = min(wanted - 1, wanted * interval // exact)
                if wanted < 1 or fit.solver.reach(wanted) is None:
                    return None
            elif fit.fits(built):
                return wanted, built
        return None

    def _shorter(self, fit: Fit, interval: int) -> tuple[Fit, int, Built] | None:
        """One whose stages were chosen for a shorter interval: it may fit where the cheapest one
        does not, by its queues.
        """
        for wanted in reversed([k for k in fit.solver.intervals if k < interval]):
            for _ in range(TRIES):
                found = fit.fit(wanted)
                if found is None:
                    break
                built = fit.build(found)
                if built.spec.timing.interval > interval:
                    break
                if fit.fits(built):
                    return fit, wanted, built
            if fit.hopeless(wanted):
                break
        return None

    def _solution(self, fit: Fit, wanted: int, built: Built, interval: int | None) -> Solution:
        why = self._why(fit, wanted) if interval is None else asked(interval)
        folds, area, target = fit.solver.folds(built.way), built.area, built.target
        return Solution(
            built.spec, folds, wanted, built.cost, area, target, built.forms, fit.device, why
        )

    def _why(self, fit: Fit, wanted: int) -> str:
        """What keeps a core from being faster."""
        faster = [k for k in fit.solver.intervals if k < wanted]
        if not faster:
            return "no fold is faster"
        try:
            fit.solver.cheapest(faster[-1])
        except UnmetError as error:
            if not error.needs:
                return "no folds of the stages together are faster"
            name, least = next(iter(error.needs.items()))
            return f"{title(name)} can't be faster than {counted(least, 'cycle')}"
        near = fit.near(faster[-1])
        if not near:
            return f"{counted(faster[-1], 'cycle')} would fit but for the queues"
        return f"{counted(faster[-1], 'cycle')} would take {near[0][1]} that are free"

    def for_interval(self, target: Target, interval: int) -> Solution:
        """The cheapest core of at most so many cycles, of any size.

        Raises
        ------
        LutgenError
            If there is none: names the stages, and an interval that there is one for.
        """
        try:
            found = self._cheapest(target, interval)
        except UnmetError as error:
            raise error.asking(self._met(target, error.ask)) from None
        if isinstance(found, Solution):
            return found
        ask = self._met(target, found)
        raise LutgenError(burst_text(self.model.name, interval, found, ask))

    def _met(self, target: Target, interval: int | None) -> int | None:
        """The interval, or a longer one, for which there is a core indeed."""
        for _ in range(TRIES):
            if interval is None:
                return None
            found = self._cheapest(target, interval)
            if isinstance(found, Solution):
                return interval
            interval = max(found, interval + 1)
        return None

    def _cheapest(self, target: Target, interval: int) -> Solution | int:
        """The cheapest; where stages wait for each other, the cycles that they take at least."""
        solver = self.ladder(target).solver
        wanted, exact = interval, 0
        for _ in range(TRIES):
            try:
                way = solver.cheapest(wanted)
            except UnmetError:
                if wanted == interval:
                    raise
                break
            spec = solver.spec(way)
            exact = spec.timing.interval
            if exact <= interval:
                why = f"{asked(interval)}, and nothing cheaper does it"
                forms = choose_forms(core_memories(spec), target)
                area = core_area(spec, target)
                folds = solver.folds(way)
                return Solution(spec, folds, wanted, way.cost, area, target, forms, None, why)
            # Bursts: stages that wait for each other. A little faster, each, makes up for it.
            wanted = min(wanted - 1, wanted * interval // exact)
            if wanted < 1:
                break
        return exact


def asked(interval: int) -> str:
    """Why a core is no faster than it could be."""
    return f"{counted(interval, 'cycle')} {'was' if interval == 1 else 'were'} asked for"


def burst_text(name: str, interval: int, exact: int, ask: int | None) -> str:
    """That stages wait for each other."""
    more = "" if ask is None else f"; ask for {ask} or more"
    return (
        f"{name}: the stages can do it in {counted(interval, 'cycle')}, but together they "
        f"take {exact}: they wait for each other{more}"
    )
