"""Samples as a model takes them: their shape, their values, and what is clamped of those."""

from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lutgen.model.base import Activation, Shape
from lutgen.numeric import Int64Array, round_half_up, unmasked

__all__ = ["Taken", "alike", "as_samples", "check_labels", "mend", "shape_text", "take_samples"]

# Axes of a sample in another order: where rows, columns and channels are in what was given, and
# what is wrong with that; the likeliest first, as several may fit.
ORDERS: dict[tuple[int, ...], str] = {
    (1, 2, 0): "channels come first, and must come last",
    (1, 0, 2): "rows and columns are swapped",
    (2, 1, 0): "columns and channels come before rows",
    (2, 0, 1): "channels come last, and must come first",
    (0, 2, 1): "columns and channels are swapped",
}


class Taken(NamedTuple):
    """Samples as input integers.

    Attributes
    ----------
    q : int64 array ``[sample, *shape]``
    clamped : int
        How many of their elements lay outside the input's format, and became its end.
    """

    q: Int64Array
    clamped: int


def shape_text(shape: Shape) -> str:
    """A shape in words."""
    return "x".join(map(str, shape)) or "a scalar"


def as_samples(x: ArrayLike, shape: Shape, name: str = "x") -> NDArray[Any]:
    """Samples ``[sample, *shape]``, once it is sure that they are samples of this shape.

    Besides the shape itself, these are taken, as elements have one order in them: axes of length 1
    may be left out or added, and a grey image may be one row of its pixels, or such a row a grey
    image. A colour image as one row is refused: it could hold pixel after pixel, or one channel
    after the other.

    Parameters
    ----------
    x : real array ``[sample, ...]``
    shape : tuple of int
        Of one sample: ``(H, W, C)`` or ``(K,)``.
    name : str
        Of the array, for the mend.

    Raises
    ------
    TypeError
        If some are masked.
    ValueError
        If they are of another shape. The text has both, and the mend where axes are swapped.
    """
    data = unmasked(x, "Samples")
    if data.ndim >= 1 and alike(data.shape[1:], shape):
        return data.reshape(len(data), *shape)
    names = {3: " (rows, columns, channels)", 1: ""}.get(len(shape), "")
    raise ValueError(
        f"Samples must have the shape {shape_text(shape)}{names}, as the model's input, "
        f"not {shape_text(data.shape[1:])}; "
        + (mend(data.shape, shape, name) or "give samples as the model was trained on")
    )


def alike(have: Shape, want: Shape) -> bool:
    """Whether samples of these shapes hold the same elements in the same order, for certain."""
    if have == want or _long(have) == _long(want):
        return True
    if prod(have) != prod(want):
        return False
    return (len(have) == 1 and _grey(want)) or (len(want) == 1 and _grey(have))


def _long(shape: Shape) -> Shape:
    return tuple(size for size in shape if size != 1)


def _grey(shape: Shape) -> bool:
    """Whether it is that of an image of one channel, whose pixels have one order.

    A first axis of length 1 does not make it one: 1 x L x C is a signal of C channels, too.
    """
    return len(shape) == 2 or (len(shape) == 3 and shape[2] == 1)


def mend(have: Shape, want: Shape, name: str = "x") -> str:
    """What is wrong with an array of samples of that shape, and what mends it; empty if that is not
    known.

    Parameters
    ----------
    have : tuple of int
        Shape of the whole array ``name``.
    want : tuple of int
        That of one sample.
    name : str
    """
    if have == want:
        return f"this is one sample: give {name}[None]"
    if have[:-1] == want and len(have) > 1:
        axes = ", ".join(map(str, (len(have) - 1, *range(len(have) - 1))))
        return (
            f"samples stand along the last axis, and must along the first: {name}.transpose({axes})"
        )
    sample, flat = have[1:], len(have) == 2
    if len(sample) == len(want) == 3:
        for order, said in ORDERS.items():
            if tuple(sample[axis] for axis in order) == want:
                axes = ", ".join(map(str, (0, *(axis + 1 for axis in order))))
                return f"{said}: {name}.transpose({axes})"
    if len(sample) == 2 and sample[::-1] == _long(want):
        return f"rows and columns are swapped: {name}.transpose(0, 2, 1)"
    if prod(sample) != prod(want) or len(have) < 2:
        return ""
    if flat and len(want) == 3:
        h, w, c = want
        return (
            f"if channels come first in them, {name}.reshape(-1, {c}, {h}, {w})"
            f".transpose(0, 2, 3, 1) mends it, else {name}.reshape(-1, {h}, {w}, {c})"
        )
    if len(want) == 1:
        rows = f"reshape(len({name}), -1)"
        return (
            f"{name}.{rows} gives pixel after pixel, {name}.transpose(0, 3, 1, 2).{rows} channel "
            "after channel; take the one that the model was trained on"
        )
    return ""


def check_labels(y: ArrayLike, samples: int, classes: int) -> Int64Array:
    """Classes of samples as int64, once it is sure that there is one a sample, which a model knows.

    Raises
    ------
    TypeError
        If they are no integers, or some are masked.
    ValueError
        If they are not as many as samples, or one is no class.
    """
    labels = unmasked(y, "Labels")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"Labels must be integers, not {labels.dtype}; number the classes from 0")
    if labels.shape != (samples,):
        raise ValueError(
            f"Labels must have the shape {samples}, one a sample, not {shape_text(labels.shape)}"
        )
    if samples and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        low, high = int(labels.min()), int(labels.max())
        raise ValueError(
            f"Labels must be classes 0..{classes - 1}, which the model tells apart, "
            f"not {low if low < 0 else high}; take the data that it was trained for"
        )
    return labels.astype(np.int64)


def take_samples(x: ArrayLike, shape: Shape, activation: Activation, name: str = "x") -> Taken:
    """Samples in the data set's units as integers of an input: its scale divides them, and its
    format's ends clamp them.

    Parameters
    ----------
    x : real array ``[sample, ...]``
        See `as_samples`.
    shape : tuple of int
    activation : Activation
    name : str
        Of the array, for the mend.

    Raises
    ------
    TypeError
        If they are no real numbers, or some are masked.
    ValueError
        If they are of another shape, or hold NaN or infinity.
    """
    data = unmasked(x, "Samples")
    if data.dtype.kind not in "buif":
        raise TypeError(f"Samples must be real numbers, not {data.dtype}")
    data = as_samples(data, shape, name)
    with np.errstate(over="ignore"):  # what grows beyond float64 is clamped
        real = round_half_up(np.asarray(data, dtype=np.float64) / activation.scale)
    fmt = activation.format
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        bad = int(np.argmin(np.isfinite(data).reshape(len(data), -1).all(axis=1)))
        raise ValueError(f"Samples must be finite numbers, but sample {bad} holds NaN or infinity")
    clipped = np.clip(real, fmt.low, fmt.high)
    return Taken(clipped.astype(np.int64), int(np.count_nonzero(clipped != real)))
