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
}
FEW = 30  # samples, of which fewer have a mean and a deviation of their own
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
        odd = reach > 8 * usual or reach < usual / 12
    else:
        ratio = seen.deviation / known.deviation
        odd = not 1 / 3 <= ratio <= 3 or abs(seen.mean - known.mean) > known.deviation
        # A few values far out make a deviation, too; units move all of them.
        odd = odd and (reach > 1.5 * usual or reach < usual / 1.5 or _moved(seen, known))
    if not odd:
        return ""
    expression = _rescaling(seen, known)
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


def _rescaling(seen: Summary, known: Summary) -> str:
    """The one of `RESCALINGS` that makes samples most nearly like those known, if one does."""
    best, found = 0.5, ""
    for expression, (factor, offset) in RESCALINGS.items():
        if not seen.deviation:
            break
        wide = abs(math.log(factor * seen.deviation / known.deviation))
        apart = abs(factor * seen.mean + offset - known.mean) / known.deviation
        if wide + apart < best:
            best, found = wide + apart, expression
    return found


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
