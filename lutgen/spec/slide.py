"""Whole windows in registers: what lets a convolution look up more than one tap in a cycle."""

from dataclasses import dataclass

from lutgen.numeric import Format, as_int
from lutgen.spec.linear import LinearSpec
from lutgen.spec.ring import RingSpec
from lutgen.spec.stream import RegrouperSpec
from lutgen.spec.window import WindowSpec

__all__ = ["EncodeSpec", "SlideSpec"]


@dataclass(frozen=True)
class EncodeSpec:
    """The encoders of a convolution with encode ``pixel``, as a stage of their own: pixels in,
    groups of indices out.

    Parameters
    ----------
    row : LinearSpec
        The layer on a pixel; its ``fan_in`` divides the codebooks.
    pixels : int
        Of an image.
    """

    row: LinearSpec
    pixels: int

    def __post_init__(self) -> None:
        as_int(self.pixels, "Pixels of an image", low=1)
        if self.row.codebooks % self.row.fan_in:
            raise ValueError(
                f"Encoders side by side must divide the {self.row.codebooks} codebooks of a pixel, "
                f"as {self.row.fan_in} do not"
            )

    @property
    def result(self) -> Format:
        """Format of an index."""
        return Format(self.row.index_bits, False)

    @property
    def interval(self) -> int:
        """Cycles between two samples that this stage alone allows."""
        return self.pixels * self.row.encode_interval

    def regrouper(self, i_lanes: int) -> RegrouperSpec:
        """What turns beats of ``i_lanes`` elements, which divide a pixel, into groups."""
        return self.row.regrouper(i_lanes)

    @property
    def latency(self) -> int:
        """Cycles from a group's first step to its indices."""
        return self.row.encoder.interval - 1 + self.row.encoder.latency


@dataclass(frozen=True)
class SlideSpec:
    """Windows, one a beat: a memory for each image row in use gives a column of the kernel in a
    cycle, and a shift register keeps the columns that the next window shares.

    Parameters
    ----------
    window : WindowSpec
    channels : int
        Elements of a pixel.
    element : Format
    order : str
        How a window is flattened: ``hwc`` or ``chw``.
    marked : bool
        Whether elements are indices, and get a mark on top for pixels outside the image; else those
        are 0.
    line_rows : int
        Image rows in memories; 0 for `RingSpec.ample_rows`.
    """

    window: WindowSpec
    channels: int
    element: Format
    order: str
    marked: bool
    line_rows: int = 0

    def __post_init__(self) -> None:
        as_int(self.channels, "Channels", low=1)
        _ = self.ring

    @property
    def ring(self) -> RingSpec:
        """The image rows, a memory each."""
        return RingSpec(self.window, 1, self.line_rows or RingSpec.ample_rows(self.window))

    @property
    def word_bits(self) -> int:
        """Width of the memories."""
        return self.channels * self.element.bits

    @property
    def line_buffer_bits(self) -> int:
        """Bits of the memories."""
        return self.ring.depth * self.word_bits

    @property
    def result(self) -> Format:
        """Format of an element that comes out."""
        return Format(self.element.bits + 1, False) if self.marked else self.element

    @property
    def elements(self) -> int:
        """Elements of a window."""
        return self.window.area * self.channels

    @property
    def reads(self) -> int:
        """Columns that are read for a window which is not a row's first."""
        return min(self.window.stride[1], self.window.kernel[1])

    @property
    def interval(self) -> int:
        """Cycles between two samples that this stage alone allows."""
        window = self.window
        return window.rows * (window.kernel[1] + (window.columns - 1) * self.reads)

    @property
    def latency(self) -> int:
        """Cycles from a window's beginning to the window, where all its columns are read."""
        return self.window.kernel[1] + 1

    def regrouper(self, i_lanes: int) -> RegrouperSpec:
        """What turns beats of ``i_lanes`` elements into pixels."""
        elements = self.window.height * self.window.width * self.channels
        return RegrouperSpec(elements, i_lanes, self.channels)

    def place(self, row: int, column: int, channel: int) -> int:
        """Where an element stands in the flattened window."""
        kernel_columns = self.window.kernel[1]
        if self.order == "chw":
            return channel * self.window.area + row * kernel_columns + column
        return (row * kernel_columns + column) * self.channels + channel
