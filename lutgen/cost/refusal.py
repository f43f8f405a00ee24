"""Why no core fits a device, and what would do: every mend is tried before it is named."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lutgen.cost.area import CoreArea
from lutgen.cost.fit import excess
from lutgen.cost.request import LOOSE, Request, Solution, burst_text
from lutgen.cost.retrain import proposals, retrained, spelled
from lutgen.cost.ways import UnmetError
from lutgen.errors import LutgenError
from lutgen.spec.target import DEVICES
from lutgen.words import counted

__all__ = ["Mend", "MisfitError", "Refusal"]


@dataclass(frozen=True)
class Mend:
    """What to ask for in the place of what was refused; `lutgen.cost.solve.solve` accepts it.

    Attributes
    ----------
    text : str
    device : str
    interval : int or None
    margin : float
    loadable : bool
    changes : mapping of layer name to a mapping
        Settings of training, by `lutgen.cost.retrain.retrained`; empty for the model as it is.
    """

    text: str
    device: str
    interval: int | None
    margin: float
    loadable: bool
    changes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class MisfitError(LutgenError):
    """No core fits.

    Attributes
    ----------
    mends : tuple of Mend
        Those that the text names.
    """

    def __init__(self, text: str, mends: tuple[Mend, ...]) -> None:
        super().__init__("; ".join([text, *(mend.text for mend in mends)]))
        self.mends = mends


@dataclass(frozen=True)
class Refusal:
    """The answer to what was asked of a device.

    Parameters
    ----------
    request : Request
    device : str
    interval : int or None
    margin : float
    """

    request: Request
    device: str
    interval: int | None
    margin: float

    def solution_or_raise(self, mends: bool) -> Solution:
        """The solution, or what is wrong and, with ``mends``, what would do.

        Raises
        ------
        MisfitError
            If no core fits.
        UnmetError
            If no core of any size is so fast.
        """
        try:
            found = self.request.attempt(self.device, self.interval, self.margin)
        except UnmetError as error:
            raise self._unmet(error, mends) from None
        if found is not None:
            return found
        raise self._misfit(self._loose() if mends else None, mends)

    def _excess(self, area: CoreArea) -> list[tuple[float, str]]:
        return excess(area.total, self.request.left(self.device), self.margin)

    def _loose(self) -> tuple[float, Solution] | None:
        """The largest smaller margin with which a core fits, and that core."""
        for margin in LOOSE:
            if margin < self.margin:
                found = self.request.attempt(self.device, self.interval, margin)
                if found is not None:
                    return margin, found
        return None

    def _unmet(self, error: UnmetError, mends: bool) -> LutgenError:
        """With an interval that a core has which fits."""
        ask = error.ask if mends else None
        if ask is not None and self.request.attempt(self.device, ask, self.margin) is None:
            fastest = self.request.attempt(self.device, None, self.margin)
            ask = None if fastest is None else fastest.spec.timing.interval
            if ask is None:
                slowest = Refusal(self.request, self.device, None, self.margin)
                misfit = slowest._misfit(slowest._loose(), mends)
                return MisfitError(f"{error.asking(None)}; and {misfit}", ())
        return error.asking(ask)

    def _misfit(self, loose: tuple[float, Solution] | None, mends: bool) -> MisfitError:
        found = tuple(self._mends(loose)) if mends else ()
        text = self._text(loose)
        if mends and not any(not mend.changes for mend in found):
            known = "that gets a bitstream" if self.request.offer else "that is known"
            text += f"; no smaller margin does, and no device {known}"
        return MisfitError(text, found)

    def _text(self, loose: tuple[float, Solution] | None) -> str:
        """What is too much, in the core that comes closest."""
        key = (self.device, self.interval, self.margin)
        if self.interval is not None and key in self.request.bursts:
            exact = self.request.bursts[key]
            return burst_text(self.request.model.name, self.interval, exact, None)
        wish = "" if self.interval is None else f" of at most {counted(self.interval, 'cycle')}"
        if loose is not None:
            need, most = self._excess(loose[1].area)[0][1], self._most(loose[1].area)
        else:
            need, most = self._nearest()
        took = f"takes {need}" if need else "has queues that take more LUTs or blocks than those"
        text = (
            f"device {self.device}: the smallest core found{wish} {took} that are free with a "
            f"margin of {self.margin:.0%}"
        )
        return f"{text}; layer {most!r} takes most" if most else text

    def _most(self, area: CoreArea) -> str:
        """The layer that takes most of what is short."""
        excessive = self._excess(area)
        what = "blocks" if excessive and " block RAMs " in excessive[0][1] else "luts"
        taken: dict[str, float] = {}
        names = {node.name for node in self.request.model.nodes}
        for stage, part in area.stages.items():  # encoders of a layer are stages of their own
            name = stage if stage in names else stage.rpartition("__")[0]
            taken[name] = taken.get(name, 0.0) + float(getattr(part, what))
        return max(taken, key=lambda name: taken[name])

    def _nearest(self) -> tuple[str, str]:
        """What is too much of the core that comes closest with any fold, and its largest layer;
        nothing where that is for its queues.
        """
        fit = self.request.fitter(self.device, self.margin, thorough=True)
        fit.fit(fit.solver.intervals[-1] if self.interval is None else self.interval)
        for near in fit.nearest.values():
            over = excess(near.area, fit.device, self.margin)
            what = "blocks" if over and " block RAMs " in over[0][1] else "luts"
            areas = [float(getattr(choice.area, what)) for choice in near.way.choices]
            most = fit.solver.nodes[areas.index(max(areas))].node.name
            return over[0][1] if over else "", most
        return "", ""

    def _mends(self, loose: tuple[float, Solution] | None) -> Iterator[Mend]:
        """The first change of the core that does, and one of training."""
        mend = next(self._changes_of_core(loose), None)
        if mend is not None:
            yield mend
        most = self._most(loose[1].area) if loose is not None else self._nearest()[1]
        loadable = self.request.wishes.loadable
        for changes in proposals(self.request.model, most):
            try:
                trained = self.request.of(retrained(self.request.model, changes))
                found = trained.attempt(self.device, self.interval, self.margin, quick=True)
            except LutgenError:
                continue
            if found is not None:
                text = f"trained with {' '.join(spelled(changes))} it fits, by estimate"
                yield Mend(text, self.device, self.interval, self.margin, loadable, changes)
                return

    def _changes_of_core(self, loose: tuple[float, Solution] | None) -> Iterator[Mend]:
        request, device, interval, margin = (
            self.request,
            self.device,
            self.interval,
            self.margin,
        )
        loadable = request.wishes.loadable
        if DEVICES[device].target.single_count and not loadable:
            if self._does(request.loadable(), device, margin):
                text = "with --loadable, tables in single-port RAMs, it fits"
                yield Mend(text, device, interval, margin, True)
        if loose is not None:
            text = f"with --margin {loose[0]:g} it fits (0 leaves nothing free)"
            yield Mend(text, device, interval, loose[0], loadable)
        if interval is not None and (slow := request.attempt(device, None, margin)) is not None:
            slower = slow.spec.timing.interval
            text = f"a slower core fits: --interval {slower}"
            yield Mend(text, device, slower, margin, loadable)
        others = sorted(DEVICES.values(), key=lambda other: (other.luts, other.blocks))
        names = [o.name for o in others if not request.offer or o.name in request.offer]
        names = [name for name in names if name != device]
        for name in names:
            if self._does(request, name, margin):
                text = f"the smallest device that does is {name}"
                yield Mend(text, name, interval, margin, loadable)
        for name in names:
            for less in LOOSE:
                if less < margin and self._does(request, name, less):
                    text = f"the smallest device that does is {name}, with --margin {less:g}"
                    yield Mend(text, name, interval, less, loadable)

    def _does(self, request: Request, device: str, margin: float) -> bool:
        try:
            return request.attempt(device, self.interval, margin) is not None
        except UnmetError:
            return False
