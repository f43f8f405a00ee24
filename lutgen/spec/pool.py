"""Pooling on an image."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from lutgen.numeric import Format, Int64Array, as_int, check_ints, format_for, requantise
from lutgen.spec.ring import RingSpec, WalkSpec
from lutgen.spec.stream import RegrouperSpec
from lutgen.spec.window import WindowSpec

__all__ = ["AvgPool2dSpec", "MaxPool2dSpec", "PoolSpec"]


@dataclass(frozen=True)
class PoolSpec:
    """What poolings share: windows on an image, and their fold.

    Parameters
    ----------
    window : WindowSpec
        Without padding.
    element : Format
        Format of the inputs.
    channels : int
        Of the image.
    lanes : int
        Channels read in one cycle, and elements of an output beat; divides ``channels``.
    line_rows : int
        Image rows in the line buffer; 0 for `RingSpec.ample_rows`.
    """

    window: WindowSpec
    element: Format
    channels: int = field(default=1, kw_only=True)
    lanes: int = field(default=1, kw_only=True)
    line_rows: int = field(default=0, kw_only=True)

    def __post_init__(self) -> None:
        if any(self.window.pad):
            raise ValueError(f"Padding of a pooling must be 0, not {self.window.pad}")
        as_int(self.channels, "Channels of a pooling", low=1)
        as_int(self.lanes, "Lanes", low=1, high=self.channels)
        if self.channels % self.lanes:
            raise ValueError(
                f"Lanes of a pooling must divide the {self.channels} channels, as {self.lanes} "
                "do not"
            )
        _ = self.walk

    @property
    def latency(self) -> int:
        """Cycles from the last read of a result to the result."""
        raise NotImplementedError

    @property
    def ring(self) -> RingSpec:
        """The line buffer."""
        words = self.channels // self.lanes
        return RingSpec(self.window, words, self.line_rows or RingSpec.ample_rows(self.window))

    @property
    def word_bits(self) -> int:
        """Width of the line buffer."""
        return self.lanes * self.element.bits

    @property
    def walk(self) -> WalkSpec:
        """How windows are read from it: every word of a pixel on its own."""
        return WalkSpec(self.ring, self.ring.words, apart=True)

    def regrouper(self, i_lanes: int) -> RegrouperSpec:
        """What turns beats of ``i_lanes`` elements into words of the line buffer."""
        elements = self.window.height * self.window.width * self.channels
        return RegrouperSpec(elements, i_lanes, self.lanes)

    @property
    def interval(self) -> int:
        """Cycles between two samples that this stage alone allows, when input is always there."""
        return self.window.count * self.walk.reads

    @property
    def line_buffer_bits(self) -> int:
        """Memory bits of the line buffer."""
        return self.ring.depth * self.word_bits


@dataclass(frozen=True)
class MaxPool2dSpec(PoolSpec):
    """The greatest element of each window, channel by channel; the format stays.

    Parameters are those of `PoolSpec`.
    """

    @property
    def latency(self) -> int:
        """Cycles from the last read of a result to the result."""
        return 2

    @property
    def result(self) -> Format:
        """Format of the outputs."""
        return self.element

    def compute(self, x: ArrayLike) -> Int64Array:
        """``[batch, height, width, channels]`` to int64 ``[batch, rows, columns, channels]``."""
        data = check_ints(x, "Inputs of a pooling", self.element).astype(np.int64, copy=False)
        taps = self.window.taps(data)  # one by one: a window may be as large as the image
        greatest = next(taps)[2].copy()
        for _, _, tap in taps:
            np.maximum(greatest, tap, out=greatest)
        return greatest


@dataclass(frozen=True)
class AvgPool2dSpec(PoolSpec):
    """``clamp((sum * multiplier + half) >> shift)`` of each window, channel by channel.

    Parameters
    ----------
    window, element, channels, lanes, line_rows
        See `PoolSpec`.
    multiplier : int
        1..65535.
    shift : int
        0..31; half is as in `lutgen.numeric.requantise`.
    output : Format
        Format of the outputs.
    """

    multiplier: int
    shift: int
    output: Format

    def __post_init__(self) -> None:
        super().__post_init__()
        as_int(self.multiplier, "Multiplier", low=1, high=(1 << 16) - 1)
        as_int(self.shift, "Shift", low=0, high=31)

    @property
    def latency(self) -> int:
        """Cycles from the last read of a result to the result: sum, product, requantiser."""
        return 4

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
        data = check_ints(x, "Inputs of a pooling", self.element).astype(np.int64, copy=False)
        taps = self.window.taps(data)
        total = next(taps)[2].copy()
        for _, _, tap in taps:
            total += tap
        return requantise(total * self.multiplier, self.shift, self.output)
