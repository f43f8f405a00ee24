"""The line buffer of a stage that slides windows over an image: a ring of the last few rows."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from lutgen.numeric import Int64Array, as_int
from lutgen.spec.window import WindowSpec

__all__ = ["RingSpec", "WalkSpec"]


@dataclass(frozen=True)
class RingSpec:
    """Rows of an image in a memory, written pixel by pixel, and given free pixel by pixel as the
    windows that need them are done.

    Parameters
    ----------
    window : WindowSpec
        The windows that read it.
    words : int
        Memory words of a pixel.
    rows : int
        Image rows that it holds, at least the kernel's.
    """

    window: WindowSpec
    words: int
    rows: int

    def __post_init__(self) -> None:
        as_int(self.words, "Words of a pixel", low=1)
        as_int(self.rows, "Rows of a line buffer", low=self.least_rows(self.window))

    @staticmethod
    def least_rows(window: WindowSpec) -> int:
        """Fewer rows can't hold a window."""
        return min(window.kernel[0], window.height)

    @staticmethod
    def ample_rows(window: WindowSpec) -> int:
        """With so many rows the next row of windows, of this image or the next, arrives while one
        is read.
        """
        last = (window.rows - 1) * window.stride[0]
        within = window.stride[0] if window.rows > 1 else 0
        return window.kernel[0] + max(within, window.height - last)

    @property
    def pixels(self) -> int:
        """Pixels of an image."""
        return self.window.height * self.window.width

    @property
    def capacity(self) -> int:
        """Pixels that it holds."""
        return self.rows * self.window.width

    @property
    def depth(self) -> int:
        """Words of the memory."""
        return self.capacity * self.words

    @cached_property
    def needs(self) -> Int64Array:
        """The last pixel of each window that lies in the image, int64 ``[count]``: when it has
        been written, the window can be read.
        """
        window = self.window
        y, x = self._origins()
        last_y = np.minimum(y + window.kernel[0], window.height) - 1
        last_x = np.minimum(x + window.kernel[1], window.width) - 1
        needs: Int64Array = last_y[:, None] * window.width + last_x[None, :]
        return needs.reshape(-1)

    @cached_property
    def frees(self) -> Int64Array:
        """Pixels that no window from this one on needs, int64 ``[count + 1]``; the last entry is
        the whole image.
        """
        window = self.window
        y, x = self._origins()
        first = np.maximum(y, 0)[:, None] * window.width + np.maximum(x, 0)[None, :]
        # Rows of windows that begin in the padding come back to the image's first row.
        first[:-1][y[:-1] + window.stride[0] <= 0] = 0
        return np.append(first.reshape(-1), self.pixels)

    def _origins(self) -> tuple[Int64Array, Int64Array]:
        window = self.window
        top, left, _, _ = window.pad
        return (
            np.arange(window.rows, dtype=np.int64) * window.stride[0] - top,
            np.arange(window.columns, dtype=np.int64) * window.stride[1] - left,
        )


@dataclass(frozen=True)
class WalkSpec:
    """The order in which the words of a window are read: outer turns, then rows of the kernel,
    then its columns, then the words of a pixel.

    Parameters
    ----------
    ring : RingSpec
    outer : int
        Times that the window is walked through.
    apart : bool
        Whether each outer turn reads its own word of every pixel, and only that; else each reads
        all words.
    """

    ring: RingSpec
    outer: int
    apart: bool

    def __post_init__(self) -> None:
        as_int(self.outer, "Outer turns", low=1)
        if self.apart and self.outer != self.ring.words:
            raise ValueError(
                f"Outer turns must be the {self.ring.words} words of a pixel, not {self.outer}"
            )

    @property
    def inner(self) -> int:
        """Words read of each pixel in one outer turn."""
        return 1 if self.apart else self.ring.words

    @property
    def turn(self) -> int:
        """Reads of an outer turn."""
        return self.ring.window.area * self.inner

    @property
    def reads(self) -> int:
        """Reads of a window."""
        return self.outer * self.turn
