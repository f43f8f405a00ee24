"""Whether samples come in the units that a model knows."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.model.base import Activation

__all__ = ["RESCALINGS", "Summary", "out_of_range", "other_units"]

# What people do to samples, as it is written of `x`: factor and offset.
RESCALINGS: dict[str, tuple[float, float]] = {
    "{x} / 255": (1 / 255, 0.0),
    "{x} * 255": (255.0, 0.0),
    "{x} / 127.5 - 1": (1 / 127.5, -1.0),
    "({x} + 1) * 127.5": (127.5, 127.5),
    "{x} * 2": (2.0, 0.0),
    "{x} / 2": (0.5, 0.0),
    "{x} * 2 - 1": (2.0, -1.0),
    "({x} + 1) / 2": (0.5, 0.5),
    "{x} - 128": (1.0, -128.0),
    "{x} + 128": (1.0, 128.0),
    "{x} / 128": (1 / 128, 0.0),
    "{x} * 128": (128.0, 0.0),
    "{x} / 16": (1 / 16, 0.0),
    "{x} * 16": (16.0, 0.0),
    "{x} / 100": (0.01, 0.0),
    "{x} * 100": (100.0, 0.0),
    "{x} / 1000": (0.001, 0.0),
    "{x} * 1000": (1000.0, 0.0),
    "{x} / 65535": (1 / 65535, 0.0),
    "{x} * 65535": (65535.0, 0.0),
    "{x} / 256": (1 / 256, 0.0),
    "{x} * 256": (256.0, 0.0),
    "{x} / 128 - 1": (1 / 128, -1.0),
    "({x} + 1) * 128": (128.0, 128.0),
    "{x} - 0.5": (1.0, -0.5),
    "{x} + 0.5": (1.0, 0.5),
    "{x} / 255 - 0.5": (1 / 255, -0.5),
    "({x} + 0.5) * 255": (255.0, 127.5),
}
FEW = 30  # samples, of which fewer have a mean and a deviation of their own
ENDS = 0.35  # of the range that is known: ends that are less apart are those of other samples
MEANS = 0.35  # the same of `_apart`, of many samples; few may be further apart
NEAR = 0.05  # of `_apart` and `_ends`: what differs by less is as good
EXACT = 1e-3  # of `_ends`
ENOUGH = 10  # samples that reach the ends of what fills its range
BLOCK = 4096  # samples looked at at once, as float64


@dataclass(frozen=True)
class Summary:
    """What values an array of samples has.

    Attributes
    ----------
    low, high : float
    mean, deviation : float
        Of all elements; the deviation is the standard one.
    samples : int
    """

    low: float
    high: float
    mean: float
    deviation: float
    samples: int

    @classmethod
    def of(cls, x: NDArray[Any]) -> "Summary":
        """Of samples ``[sample, ...]``, one at least."""
        low, high = float(x.min()), float(x.max())
        unit = max(abs(low), abs(high)) or 1.0  # squares of what is near the end of float64
        total = squares = 0.0
        for start in range(0, len(x), BLOCK):
            part = x[start : start + BLOCK].astype(np.float64) / unit
            total += float(part.sum())
            squares += float(np.square(part).sum())
        mean = total / x.size
        deviation = math.sqrt(max(0.0, squares / x.size - mean * mean))
        return cls(low, high, mean * unit, deviation * unit, len(x))

    def data(self) -> dict[str, Any]:
        """JSON data, for a model's provenance."""
        return asdict(self)

    @classmethod
    def known(cls, provenance: Mapping[str, Any]) -> "Summary | None":
        """That of a model's training samples; None where its provenance does not tell."""
        found = provenance.get("inputs")
        keys = cls.__dataclass_fields__
        if not isinstance(found, dict) or set(found) != set(keys):
            return None
        if not all(
            type(value) in (int, float) and math.isfinite(value) for value in found.values()
        ):
            return None
        return cls(**found)


def other_units(seen: Summary, known: Summary, *, of: str, name: str) -> str:
    """What speaks for samples being in other units than those that are known, and the mend; empty
    if nothing does.

    Parameters
    ----------
    seen, known : Summary
    of : str
        Whose the known ones are, as in "those of x_train".
    name : str
        Of the array of samples.
    """
    if not known.deviation or not (math.isfinite(seen.deviation) and math.isfinite(seen.mean)):
        return ""
    reach, usual = max(abs(seen.low), abs(seen.high)), max(abs(known.low), abs(known.high))
    if seen.samples < FEW:
        small = reach < usual / 12 and seen.deviation < known.deviation / 8
        odd = reach > 8 * usual or small
    else:
        ratio = seen.deviation / known.deviation
        odd = not 1 / 3 <= ratio <= 3 or abs(seen.mean - known.mean) > known.deviation
        # A few values far out make a deviation, too; units move all of them.
        odd = odd and (reach > 1.5 * usual or reach < usual / 1.5 or _moved(seen, known))
    better = _better(seen, known)
    if not odd and not better:
        return ""
    expression = better or _rescaling(seen, known)
    cure = (
        f"{expression.format(x=name)} would be like them"
        if expression
        else f"bring them to a mean of {known.mean:.4g} and a deviation of {known.deviation:.4g}"
    )
    return (
        f"samples seem to be in other units than {of}: they {_text(seen)}, the others "
        f"{_text(known)}; {cure}"
    )


def _moved(seen: Summary, known: Summary) -> bool:
    return abs(seen.mean - known.mean) > known.deviation


def _text(summary: Summary) -> str:
    return f"reach from {summary.low:.4g} to {summary.high:.4g} with a mean of {summary.mean:.4g}"


def _apart(seen: Summary, known: Summary, factor: float, offset: float) -> float:
    """How far the mean and the deviation of samples so rescaled are from those known."""
    ratio = factor * seen.deviation / known.deviation
    if not 0 < ratio < math.inf:
        return math.inf
    return abs(math.log(ratio)) + abs(factor * seen.mean + offset - known.mean) / known.deviation


def _ends(seen: Summary, known: Summary, factor: float, offset: float) -> float:
    """How far the ends of samples so rescaled are from those known, in parts of that range."""
    low, high = factor * seen.low + offset, factor * seen.high + offset
    return (abs(low - known.low) + abs(high - known.high)) / (known.high - known.low)


def _better(seen: Summary, known: Summary) -> str:
    """The rescaling that brings both the ends of samples and their mean and deviation to those
    known, where all of them are far apart as samples are; empty if none does.

    Either alone says little: a class has a mean of its own, and a few samples seldom reach the ends
    of what has long tails. Data sets that fill their range do, so that all of it speaks.
    """
    if seen.low == seen.high or known.low == known.high:
        return ""
    ends, apart = _ends(seen, known, 1.0, 0.0), _apart(seen, known, 1.0, 0.0)
    noise = 1 / math.sqrt(seen.samples)
    if not (ends > ENDS and MEANS + 1.5 * noise < apart < math.inf):
        return ""

    def fits(way: tuple[float, float]) -> bool:
        return _ends(seen, known, *way) < min(ends / 2, ENDS) and _apart(seen, known, *way) < min(
            apart / 2, MEANS + noise
        )

    ways = RESCALINGS | _standards(seen, known) | _stretch(seen, known)
    return _nearest({text: way for text, way in ways.items() if fits(way)}, seen, known)


def _standards(seen: Summary, known: Summary) -> dict[str, tuple[float, float]]:
    """What standardises samples or undoes it, for means and deviations that speak for it."""
    found = {}
    if _standard(known):
        mean, deviation = float(f"{seen.mean:.4g}"), float(f"{seen.deviation:.4g}")
        found[f"({{x}} - {mean:g}) / {deviation:g}"] = (1 / deviation, -mean / deviation)
    if _standard(seen):
        mean, deviation = float(f"{known.mean:.4g}"), float(f"{known.deviation:.4g}")
        found[f"{{x}} * {deviation:g} + {mean:g}"] = (deviation, mean)
    return {text.replace("- -", "+ ").replace("+ -", "- "): way for text, way in found.items()}


def _standard(summary: Summary) -> bool:
    return abs(summary.mean) < 0.3 and 0.7 < summary.deviation < 1.4


def _stretch(seen: Summary, known: Summary) -> dict[str, tuple[float, float]]:
    """What brings the ends of samples to those known, where they are enough to reach them."""
    if seen.samples < ENOUGH:
        return {}
    wide = known.high - known.low
    factor = float(f"{wide / (seen.high - seen.low):.3g}")
    offset = float(f"{known.low - factor * seen.low:.3g}")
    if abs(offset) < 0.02 * wide:
        return {f"{{x}} * {factor:g}": (factor, 0.0)}
    return {f"{{x}} * {factor:g} {'-' if offset < 0 else '+'} {abs(offset):g}": (factor, offset)}


def _nearest(ways: Mapping[str, tuple[float, float]], seen: Summary, known: Summary) -> str:
    """The expression that makes samples most nearly like those known; empty for no ways."""
    apart = {expression: _apart(seen, known, *way) for expression, way in ways.items()}
    least = min(apart.values(), default=0.0)
    close = [expression for expression in ways if apart[expression] <= least + NEAR]
    ends = [_ends(seen, known, *ways[expression]) for expression in close]
    # 1/255 and 1/256 differ in nothing but where the ends of a full range come to lie exactly.
    best = [end < EXACT or (end <= min(ends) + NEAR and min(ends) >= EXACT) for end in ends]
    return next((expression for expression, kept in zip(close, best, strict=True) if kept), "")


def _rescaling(seen: Summary, known: Summary) -> str:
    """The one of `RESCALINGS` that makes samples like those known, if one does."""
    near = {text: way for text, way in RESCALINGS.items() if _apart(seen, known, *way) < 0.5}
    return _nearest(near, seen, known)


def out_of_range(seen: Summary, activation: Activation, name: str) -> str:
    """What speaks for the samples ``name`` being in other units than a model's input, where nothing
    is known but the input's format; empty if nothing does.
    """
    fmt, scale = activation.format, activation.scale
    low, high = fmt.low * scale, fmt.high * scale
    reach, most = max(abs(seen.low), abs(seen.high)), max(abs(low), abs(high))
    text = f"they {_text(seen)}, but the model takes {low:.4g} to {high:.4g}"
    if most / 16 <= reach <= 2 * most:
        return ""
    fits = {
        expression: abs(math.log(factor * reach / most))
        for expression, (factor, offset) in RESCALINGS.items()
        if reach and not offset
    }
    expression = min(fits, key=lambda each: fits[each], default="")
    cure = f"; {expression.format(x=name)} would fill that" if fits.get(expression, 1) < 0.1 else ""
    steps = f" in steps of {scale:.4g}" if reach < most else ""
    return f"samples seem to be in other units than the model's: {text}{steps}{cure}"
