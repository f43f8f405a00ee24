"""The folds of a whole core: the cheapest for an interval, or the fastest for a device."""

from collections.abc import Callable, Collection, Mapping

from lutgen.cost.area import Area
from lutgen.cost.refusal import MisfitError, Refusal
from lutgen.cost.request import Request, Solution
from lutgen.cost.ways import Wishes
from lutgen.model import Model
from lutgen.model.fold import Fold
from lutgen.model.plan import check_layers
from lutgen.numeric import as_int
from lutgen.spec.target import DEVICES, TARGETS

__all__ = ["MisfitError", "Solution", "solve"]


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
    mends: bool = True,
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
    mends : bool
        Whether a refusal looks for what would do, which takes as long as a few solutions.

    Raises
    ------
    MisfitError
        If no core fits the device: what is too much, and what would do.
    LutgenError
        If no fold is fast enough: names the stage that misses, by how much, and what would do.
    ValueError, TypeError
        If an argument is out of range.
    """
    if interval is None and device is None:
        raise ValueError("An interval or a device must be given")
    if interval is not None:
        as_int(interval, "Interval", low=1)
    if device is not None and device not in DEVICES:
        raise ValueError(f"Device must be one of {', '.join(sorted(DEVICES))}, not {device!r}")
    if not 0 <= margin < 1:
        raise ValueError(f"Margin must be at least 0 and less than 1, not {margin}")
    check_layers(model, layers or {})
    wishes = Wishes(name, input_lanes, fold or Fold(), layers or {}, loadable)
    request = Request(model, wishes, say or (lambda text: None), reserve or Area(), offer)
    if device is None:
        assert interval is not None
        return request.for_interval(TARGETS[target or "ice40"], interval)
    return Refusal(request, device, interval, margin).solution_or_raise(mends)
