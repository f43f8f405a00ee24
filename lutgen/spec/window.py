"""Where windows lie that a convolution or a pooling slides over an image."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lutgen.numeric import as_int

__all__ = ["WindowSpec"]

Pair = tuple[int, int]


@dataclass(frozen=True)
class WindowSpec:
    """The windows of an image, rows first.

    Parameters
    ----------
    height, width : int
        Of the image, in pixels.
    kernel : pair of int
        Height and width of a window.
    stride : pair of int
        Rows and columns from one window to the next.
    pad : four of int
        Pixels that are added at the top, the left, the bottom and the right; less than the kernel,
        so that every window holds at least one pixel of the image.

    Raises
    ------
    ValueError
        If no window fits.
    """

    height: int
    width: int
    kernel: Pair
    stride: Pair
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __post_init__(self) -> None:
        as_int(self.height, "Height of an image", low=1)
        as_int(self.width, "Width of an image", low=1)
        for what, values, low in (("Kernel", self.kernel, 1), ("Stride", self.stride, 1)):
            for value in values:
                as_int(value, what, low=low)
        for value, kernel in zip(self.pad, (*self.kernel, *self.kernel), strict=True):
            as_int(value, "Padding", low=0, high=kernel - 1)
        if self.kernel[0] > self.padded[0] or self.kernel[1] > self.padded[1]:
            raise ValueError(
                "Kernel must fit the padded image of {}x{}, not be {}x{}".format(
                    *self.padded, *self.kernel
                )
            )

    @property
    def padded(self) -> Pair:
        """Height and width of the image with its padding."""
        top, left, bottom, right = self.pad
        return self.height + top + bottom, self.width + left + right

    @property
    def rows(self) -> int:
        """Rows of windows; one that does not fit is dropped."""
        return (self.padded[0] - self.kernel[0]) // self.stride[0] + 1

    @property
    def columns(self) -> int:
        """Columns of windows."""
        return (self.padded[1] - self.kernel[1]) // self.stride[1] + 1

    @property
    def count(self) -> int:
        """Windows."""
        return self.rows * self.columns

    @property
    def area(self) -> int:
        """Pixels of a window."""
        return self.kernel[0] * self.kernel[1]

    def surround(self, x: NDArray[Any], value: int) -> NDArray[Any]:
        """``[batch, height, width, ...]`` with ``value`` in the padding around it."""
        if not any(self.pad):
            return x
        top, left, _, _ = self.pad
        full = np.full((len(x), *self.padded, *x.shape[3:]), value, dtype=x.dtype)
        full[:, top : top + self.height, left : left + self.width] = x
        return full

    def taps(self, padded: NDArray[Any]) -> Iterator[tuple[int, int, NDArray[Any]]]:
        """The positions in a window, rows first, each with what lies there in every window.

        Parameters
        ----------
        padded : array ``[batch, *self.padded, ...]``

        Yields
        ------
        row, column, view ``[batch, rows, columns, ...]``
        """
        down, across = self.stride
        for y, x in product(range(self.kernel[0]), range(self.kernel[1])):
            last_row, last_column = y + down * (self.rows - 1), x + across * (self.columns - 1)
            yield y, x, padded[:, y : last_row + 1 : down, x : last_column + 1 : across]

    def spans(self) -> set[tuple[Pair, Pair]]:
        """The parts of windows that lie in the image: first and last + 1 of the rows, and of the
        columns.
        """
        top, left, _, _ = self.pad
        return set(
            product(
                _spans(self.height, self.kernel[0], self.stride[0], top, self.rows),
                _spans(self.width, self.kernel[1], self.stride[1], left, self.columns),
            )
        )


def _spans(size: int, kernel: int, stride: int, pad: int, count: int) -> set[Pair]:
    starts = [stride * i - pad for i in range(count)]
    return {(max(0, -start), min(kernel, size - start)) for start in starts}
