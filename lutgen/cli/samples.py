"""Samples of a file on their way into a model or a core: what is checked, and what is said."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.cli import common
from lutgen.errors import LutgenError
from lutgen.model.base import Activation, Shape
from lutgen.model.samples import as_samples, check_labels, take_samples
from lutgen.model.units import Summary, other_units, out_of_range
from lutgen.numeric import Int64Array

__all__ = ["NOTHING", "File", "clamping", "read", "taken"]

NOTHING: dict[str, Any] = {"clamped": None, "units": None}  # said where samples are random

MUCH = 0.01  # of all values: what clamps more of them changes results


@dataclass(frozen=True)
class File:
    """Samples of a file, in the shape of a model's input.

    Attributes
    ----------
    path : str
    x : real array ``[sample, *shape]``
    labels : int64 array ``[sample]`` or None
        Classes, where the file has them.
    """

    path: str
    x: NDArray[Any]
    labels: NDArray[np.int64] | None


def read(path: str, shape: Shape, classes: int, *, seed: int = 0) -> File:
    """``x_test`` of a file, and ``y_test`` where it is there.

    Raises
    ------
    LutgenError
        If it is no such file, or its samples or labels are none of a model with this shape of input
        and so many classes.
    """
    from lutgen.train.data import load_samples

    samples = load_samples(path, seed=seed)
    array = "x_test"
    try:
        x = as_samples(samples.x, shape, array)
        array = "y_test"
        y = None if samples.y is None else check_labels(samples.y, len(x), classes)
    except ValueError as error:
        raise LutgenError(f"{path}, array {array!r}: {error}") from error
    return File(path, x, y)


def taken(
    file: File, activation: Activation, provenance: dict[str, Any], count: int | None = None
) -> tuple[Int64Array, dict[str, Any]]:
    """The first samples as input integers ``[sample, *shape]``, and what `clamping` says of
    them.
    """
    x = file.x[:count]
    q, clamped = take_samples(x, x.shape[1:], activation, "x_test")
    return q, clamping(file, clamped, x.size, activation, provenance)


def clamping(
    file: File, clamped: int, of: int, activation: Activation, provenance: dict[str, Any]
) -> dict[str, Any]:
    """Says what became of samples on their way into integers; gives the same as JSON data.

    Parameters
    ----------
    file : File
        All of its samples show their units, not only those that went in.
    clamped, of : int
        How many values were clamped, and how many went in.
    activation : Activation
        Of the model's input.
    provenance : dict
        Of the model; may be empty.
    """
    where = f"{file.path}, array 'x_test'"
    share = clamped / of
    if clamped:
        fmt, scale = activation.format, activation.scale
        common.say(
            f"lutgen: {'warning' if share >= MUCH else 'note'}: {where}: {100 * share:.3g} % of "
            f"the values ({clamped} of {of}) lie outside {fmt.low * scale:.4g} to "
            f"{fmt.high * scale:.4g}, which the model takes, and are clamped"
        )
    seen, known = Summary.of(file.x), Summary.known(provenance)
    if known is None:
        problem = out_of_range(seen, activation, "x_test")
    else:
        problem = other_units(seen, known, of="the model's training samples", name="x_test")
    if problem:
        common.say(f"lutgen: warning: {where}: {problem}")
    return {
        "clamped": {"values": clamped, "of": of, "share": share},
        "units": problem or None,
    }
