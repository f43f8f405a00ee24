"""What speaks against samples before any step of training: units, range, what a network knows."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from lutgen.model import Activation
from lutgen.model.units import RESCALINGS, Summary, other_units
from lutgen.train.data import Dataset
from lutgen.train.optim import Float32Array

__all__ = ["of_network", "of_samples"]

FEW_CODES = 16  # of an input, for half of the samples: less is hardly a picture of them
LOST = 0.25  # of the inputs that vary
SIEVE, SAMPLES = 64, 500  # test samples that every rescaling is tried on, and the best ones
SURE = 4.0  # standard errors


def of_samples(data: Dataset, source: Activation, clamped: int) -> Iterator[str]:
    """What speaks against samples in themselves.

    Parameters
    ----------
    data : Dataset
    source : Activation
        Of the model's input.
    clamped : int
        Values of the test samples that lie outside it.
    """
    far = _far_out(data.x_train, source)
    known = Summary.of(data.x_train)
    problem = other_units(Summary.of(data.x_test), known, of="those of x_train", name="x_test")
    if far:
        yield far
    elif problem:
        yield f"array 'x_test': {problem}"
    if clamped:
        size = data.x_test.size
        low, high = source.format.low * source.scale, source.format.high * source.scale
        yield (
            f"array 'x_test': {100 * clamped / size:.3g} % of the values ({clamped} of {size}) lie "
            f"outside {low:.4g} to {high:.4g}, which the model takes by x_train, and are clamped"
        )
    if not far:
        yield from _lost(data.x_train, source)


def _far_out(x: NDArray[np.generic], source: Activation) -> str:
    """Whether a few values far out make the input's steps too coarse for the rest."""
    if source.scale == 1.0:  # samples are their own codes
        return ""
    flat = x.reshape(len(x), -1)
    peaks = np.maximum(flat.max(axis=1), -flat.min(axis=1).astype(np.float64))
    typical = float(np.median(peaks))
    if typical / source.scale >= min(FEW_CODES, source.format.high / FEW_CODES):
        return ""
    return (
        f"array 'x_train': sample {int(peaks.argmax())} reaches {peaks.max():.4g}, half of the "
        f"samples no more than {typical:.4g}, so that the input's {source.bits} bits make "
        f"steps of {source.scale:.3g}, which tell little of most samples; remove such samples, "
        "clip them (numpy.clip), or give more activation bits"
    )


def _lost(x: NDArray[np.generic], source: Activation) -> Iterator[str]:
    """Inputs that vary by less than a step."""
    if source.scale == 1.0:
        return
    flat = x.reshape(len(x), -1)
    low, high = flat.min(axis=0).astype(np.float64), flat.max(axis=0).astype(np.float64)
    varies = high > low
    lost = varies & (np.floor(low / source.scale + 0.5) == np.floor(high / source.scale + 0.5))
    if lost.sum() > LOST * varies.sum():
        yield (
            f"array 'x_train': {int(lost.sum())} of the {int(varies.sum())} inputs that vary do so "
            f"by less than a step of the model's input, {source.scale:.3g}, and are constant to "
            "it; bring all inputs to like ranges, such as x / abs(x_train).max(axis=0)"
        )


def of_network(
    logits: Callable[[NDArray[np.float32]], Float32Array], data: Dataset
) -> Iterator[str]:
    """What speaks against samples for a network that comes trained: whether it knows them better
    in other units.

    Parameters
    ----------
    logits : callable
        The network's ``[sample, class]`` of samples ``[sample, ...]``.
    data : Dataset
    """
    chosen = np.unique(np.linspace(0, len(data.x_test) - 1, SAMPLES).astype(np.int64))
    x, y = data.x_test[chosen].astype(np.float64), data.y_test[chosen]

    def right(count: int, factor: float, offset: float) -> NDArray[np.bool_]:
        part = np.unique(np.linspace(0, len(x) - 1, count).astype(np.int64))
        with np.errstate(over="ignore", invalid="ignore"):
            found = logits((x[part] * factor + offset).astype(np.float32))
        return np.asarray(found.argmax(axis=1) == y[part])

    known = Summary.of(data.x_train)
    ways = dict(RESCALINGS)
    if known.deviation:
        mean, deviation = (float(f"{n:.4g}") for n in (known.mean, known.deviation))
        ways[f"({{x}} - {mean:g}) / {deviation:g}"] = (1 / deviation, -mean / deviation)
    sieved = sorted(ways, key=lambda way: -int(right(SIEVE, *ways[way]).sum()))
    plain = right(SAMPLES, 1.0, 0.0)
    found = {way: right(SAMPLES, *ways[way]) for way in sieved[:3]}
    way, other = max(found.items(), key=lambda each: int(each[1].sum()))
    gained, lost = int((other & ~plain).sum()), int((plain & ~other).sum())
    if gained - lost > SURE * np.sqrt(gained + lost):
        train, test = way.format(x="x_train"), way.format(x="x_test")
        yield (
            f"Network has {100 * float(other.mean()):.1f} % of {len(plain)} test samples right as "
            f"{test}, but {100 * float(plain.mean()):.1f} % as they are: samples must come in the "
            f"units of its training; give {train} and {test}"
        )
    elif plain.mean() < 1.5 / data.classes:
        yield (
            "Network is hardly better than guessing on these test samples; they must come as they "
            "did in its training, in the same units"
        )
