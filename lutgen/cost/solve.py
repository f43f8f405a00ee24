"""The folds of a whole core: the cheapest for an interval, or the fastest for a device."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

from lutgen.cost.area import Area, CoreArea, core_area, core_memories
from lutgen.cost.fit import Built, Fit, Ladder
from lutgen.cost.ways import Solver, UnmetError, Wishes, title
from lutgen.errors import LutgenError
from lutgen.model import Model
from lutgen.model.fold import Fold
from lutgen.model.plan import check_layers
from lutgen.numeric import as_int
from lutgen.spec.network import NetworkSpec
from lutgen.spec.target import DEVICES, TARGETS, Device, Form, Target, choose_forms

__all__ = ["Solution", "solve"]

TRIES = 6
LOOSE = (0.3, 0.2, 0.15, 0.1, 0.05, 0.0)  # margins that are proposed


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
    reserve: Area | None = None,
    offer: Collection[str] | None = None,
    say: Callable[[str], None] | None = None,
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
    reserve : Area or None
        What stands beside the core on the device, and is not there for it.
    offer : collection of str or None
        The devices that may be proposed where none fits; by default all.
    say : callable or None
        Takes lines of progress.

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
    wishes = Wishes(name, input_lanes, fold or Fold(), layers or {}, loadable)
    request = _Request(model, wishes, margin, say or (lambda text: None), reserve or Area(), offer)
    if device is not None:
        return request.for_device(DEVICES[device], interval)
    assert interval is not None
    return request.for_interval(TARGETS[target or "ice40"], interval)


@dataclass(frozen=True)
class _Request:
    """What `solve` was asked."""

    model: Model
    wishes: Wishes
    margin: float
    say: Callable[[str], None]
    reserve: Area
    offer: Collection[str] | None
    ladders: dict[str, Ladder] = field(default_factory=dict)

    def solver(self, target: Target) -> Solver:
        return self.ladder(target).solver

    def ladder(self, target: Target) -> Ladder:
        """Shared by all devices of the family."""
        if target.name not in self.ladders:
            self.say(f"looking at the folds on {target.name} ...")
            solver = Solver(self.model, TARGETS[target.name], self.wishes)
            self.ladders[target.name] = Ladder(solver)
        return self.ladders[target.name]

    def fitter(self, device: Device, margin: float) -> Fit:
        left = replace(
            device,
            luts=round(device.luts - self.reserve.luts),
            ffs=round(device.ffs - self.reserve.ffs),
            blocks=device.blocks - self.reserve.blocks,
        )
        return Fit(self.ladder(device.target), left, margin, self.say)

    def for_interval(self, target: Target, interval: int) -> Solution:
        """The cheapest."""
        solver = self.solver(target)
        wanted = interval
        exact = 0
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
                why = f"{interval} cycles were asked for, and nothing cheaper does it"
                forms = choose_forms(core_memories(spec), target)
                area = core_area(spec, target)
                folds = solver.folds(way)
                return Solution(spec, folds, wanted, way.cost, area, target, forms, None, why)
            # Bursts: stages that wait for each other. A little faster, each, makes up for it.
            wanted = min(wanted - 1, wanted * interval // exact)
            if wanted < 1:
                break
        raise LutgenError(self._bursts(interval, exact))

    def _bursts(self, interval: int, exact: int) -> str:
        return (
            f"{self.model.name}: the stages can do it in {interval} cycles, but together they take "
            f"{exact}: they wait for each other; ask for {exact} or more"
        )

    def for_device(self, device: Device, interval: int | None) -> Solution:
        """The fastest that fits, or a cheap one of an interval."""
        fit = self.fitter(device, self.margin)
        if interval is not None:
            return self._within(fit, interval)
        found = fit.fastest()
        if found is None:
            raise LutgenError(self._misfit(fit, fit.solver.intervals[-1], None))
        wanted, built = found
        return self._solution(fit, wanted, built, self._why(fit, wanted))

    def _solution(self, fit: Fit, wanted: int, built: Built, why: str) -> Solution:
        folds, area, target = fit.solver.folds(built.way), built.area, built.target
        return Solution(
            built.spec, folds, wanted, built.cost, area, target, built.forms, fit.device, why
        )

    def _within(self, fit: Fit, interval: int) -> Solution:
        """One that fits, of an interval."""
        wanted, exact = interval, 0
        fit.solver.cheapest(interval)  # complains where there is none of any size
        for _ in range(TRIES):
            found = fit.fit(wanted)
            if found is None:
                break
            built = fit.build(found)
            exact = built.spec.timing.interval
            if exact > interval:
                wanted = min(wanted - 1, wanted * interval // exact)
                if wanted < 1 or fit.solver.reach(wanted) is None:
                    raise LutgenError(self._bursts(interval, exact))
            elif fit.fits(built):
                return self._solution(fit, wanted, built, f"{interval} cycles were asked for")
        raise LutgenError(self._misfit(fit, wanted, interval))

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
            return f"{title(name)} can't be faster than {least} cycles"
        near = fit.near(faster[-1])
        if not near:
            return f"{faster[-1]} cycles fit but for the queues"
        return f"{faster[-1]} cycles would take {near[0][1]} that are free"

    def _misfit(self, fit: Fit, interval: int, asked: int | None) -> str:
        """What misses, by how much, and what would do."""
        device = DEVICES[fit.device.name]  # with what stands beside the core
        near = fit.near(interval)
        wish = "" if asked is None else f" of at most {asked} cycles"
        if near:
            need = f"the smallest core found{wish} takes {near[0][1]}"
        else:
            need = f"the queues of a core{wish} take too much"
        text = f"device {device.name}: {need} that are free with a margin of {self.margin:.0%}"
        if near:
            what = "blocks" if near[0][1].split()[1] == "block" else "luts"
            text += f"; layer {fit.largest(interval, what)!r} takes most"
        if device.target.single_count and not self.wishes.loadable:
            text += "; with --loadable single-port RAMs may hold tables"
        for loose in LOOSE:
            if loose < self.margin and self._does(device, asked, loose):
                return f"{text}; with --margin {loose:g} it fits (0 leaves nothing free)"
        if asked is not None and (slower := self._fastest(device, self.margin)) is not None:
            return f"{text}; a slower core fits: --interval {slower}"
        others = sorted(DEVICES.values(), key=lambda other: (other.luts, other.blocks))
        for other in others:
            if self.offer and other.name not in self.offer:
                continue
            if other.luts <= device.luts and other.blocks <= device.blocks:
                continue
            if self._does(other, asked, self.margin):
                return f"{text}; the smallest device that does is {other.name}"
        known = "that gets a bitstream" if self.offer else "that is known"
        return f"{text}; no smaller margin does, and no device {known}"

    def _fastest(self, device: Device, margin: float) -> int | None:
        """The interval of the fastest core that fits."""
        found = self.fitter(device, margin).fastest()
        return None if found is None else max(found[0], found[1].spec.timing.interval)

    def _does(self, device: Device, interval: int | None, margin: float) -> bool:
        """Whether a core fits, of any interval or of this one."""
        if interval is None:  # the slowest is not always the smallest
            return self._fastest(device, margin) is not None
        fit = self.fitter(device, margin)
        for _ in range(TRIES):
            found = fit.fit(interval)
            if found is None:
                return False
            if fit.fits(fit.build(found)):
                return True
        return False
