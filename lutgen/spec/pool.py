"""Pooling on an image: what it computes, without a schedule yet."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from lutgen.numeric import Format, Int64Array, as_int, format_for, requantise
from lutgen.spec.window import WindowSpec

__all__ = ["AvgPool2dSpec", "MaxPool2dSpec"]


@dataclass(frozen=True)
class MaxPool2dSpec:
    """The greatest element of each window, channel by channel.

    Parameters
    ----------
    window : WindowSpec
        Without padding.
    element : Format
        Format of the inputs, and of the outputs.
    """

    window: WindowSpec
    element: Format

    def __post_init__(self) -> None:
        _check_pad(self.window)

    @property
    def result(self) -> Format:
        """Format of the outputs."""
        return self.element

    def compute(self, x: ArrayLike) -> Int64Array:
        """``[batch, height, width, channels]`` to int64 ``[batch, rows, columns, channels]``."""
        (_, _, first), *taps = self.window.taps(np.asarray(x, dtype=np.int64))
        greatest = first.copy()
        for _, _, tap in taps:
            np.maximum(greatest, tap, out=greatest)
        return greatest


@dataclass(frozen=True)
class AvgPool2dSpec:
    """``clamp((sum * multiplier + half) >> shift)`` of each window, channel by channel.

    Parameters
    ----------
    window : WindowSpec
        Without padding.
    element : Format
        Format of the inputs.
    multiplier : int
        1..65535.
    shift : int
        0..31; half is as in `lutgen.numeric.requantise`.
    output : Format
        Format of the outputs.
    """

    window: WindowSpec
    element: Format
    multiplier: int
    shift: int
    output: Format

    def __post_init__(self) -> None:
        _check_pad(self.window)
        as_int(self.multiplier, "Multiplier", low=1, high=(1 << 16) - 1)
        as_int(self.shift, "Shift", low=0, high=31)

    @property
    def sum(self) -> Format:
        """Format of a window's sum, signed."""
        area = self.window.area
        return format_for(min(area * self.element.low, -1), area * self.element.high)

    @property
    def acc(self) -> Format:
        """Format of the product, signed."""
        factor = self.window.area * self.multiplier
        return format_for(min(factor * self.element.low, -1), factor * self.element.high)

    @property
    def result(self) -> Format:
        """Format of the outputs."""
        return self.output

    def compute(self, x: ArrayLike) -> Int64Array:
        """``[batch, height, width, channels]`` to int64 ``[batch, rows, columns, channels]``."""
        (_, _, first), *taps = self.window.taps(np.asarray(x, dtype=np.int64))
        total = first.copy()
        for _, _, tap in taps:
            total += tap
        return requantise(total * self.multiplier, self.shift, self.output)


def _check_pad(window: WindowSpec) -> None:
    if any(window.pad):
        raise ValueError(f"Padding of a pooling must be 0, not {window.pad}")
